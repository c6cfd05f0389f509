# The one list of C++ sources: binding.gyp includes it, and CMakeLists.txt reads the paths out of
# it.
{
  'variables': {
    # Knows nothing of JavaScript: what the native unit tests link.
    'core_sources': [
      'src/umem.cc',
      'src/socket.cc',
      'src/poller.cc',
      'src/poller_chains.cc',
      'src/poller_sockets.cc',
      'src/program.cc',
      'src/program_pins.cc',
      'src/descriptors.cc',
      'src/device.cc',
      'src/netlink.cc',
    ],
    'binding_sources': [
      'src/binding_handover.cc',
      'src/binding_netlink.cc',
      'src/binding_packets.cc',
      'src/binding_program.cc',
      'src/binding_system.cc',
    ],
  },
}
