# What `npm install` builds: the add-on, and the XDP program beside it. CMakeLists.txt builds the
# same with cmake-js.
{
  'includes': ['sources.gypi'],
  'variables': {
    # In the repository the program lives one folder up; a published package carries a copy
    # (prepack).
    'xdp_source': '<!(node scripts/build-paths.cjs program)',
    'multiarch_include': '<!(node scripts/build-paths.cjs include)',
  },
  'targets': [
    {
      'target_name': 'xdp_socket',
      'sources': ['<@(core_sources)', '<@(binding_sources)'],
      'dependencies': ['xdp_redirect'],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_DISABLE_CPP_EXCEPTIONS', 'NAPI_VERSION=8'],
      'cflags': ['-Wall', '-Wextra', '-Werror', '-fvisibility=hidden'],
      'cflags_cc!': ['-std=gnu++14', '-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': ['-std=c++17', '-fno-exceptions'],
      'libraries': ['-lbpf'],
    },
    {
      'target_name': 'xdp_redirect',
      'type': 'none',
      'actions': [
        {
          'action_name': 'compile_xdp_redirect',
          'inputs': ['<(xdp_source)'],
          'outputs': ['<(PRODUCT_DIR)/xdp_redirect.o'],
          'action': [
            'clang', '-O2', '-g', '-target', 'bpf', '-Wall', '-Wextra', '-Werror',
            '-I<(multiarch_include)', '-c', '<(xdp_source)', '-o', '<@(_outputs)',
          ],
        },
      ],
    },
  ],
}
