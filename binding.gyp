# Building here builds the add-on of native/: the same targets, by dependency. `npm install` does
# not use this file (it builds the workspace native/ itself); `node-gyp rebuild` in this folder
# does.
{
  'targets': [
    {
      'target_name': 'ringpath',
      'type': 'none',
      'dependencies': ['native/binding.gyp:xdp_socket'],
    },
  ],
}
