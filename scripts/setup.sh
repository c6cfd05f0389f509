#!/usr/bin/env bash
# Makes a checkout ready to run: system packages (Debian and Ubuntu, as root), npm packages, the
# native add-on, the compiled TypeScript. Does only what is missing; with nothing missing it takes
# less than a second. Downloads nothing by itself: apt and npm do, from wherever this machine has
# them configured.
set -euo pipefail
cd "$(dirname "$0")/.."

NODE_MAJOR_MIN=20
APT_PACKAGES=(
  # The add-on, the XDP program, and their tests.
  clang g++ make cmake python3 libbpf-dev libelf-dev
  # The lab of namespaces.
  iproute2 ethtool procps util-linux
  # The traffic of the tests and of the demo.
  curl iperf3 iputils-ping iputils-tracepath netcat-openbsd socat tcpdump traceroute
  # A reader of captures that is not ours.
  tshark
  # Nodes of other makes, for the tests of the overlay.
  openvswitch-switch
)
# Not in build/: node-gyp empties it.
ADDON_STAMP=node_modules/.ringpath-addon

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Runs a command and shows what it printed only when it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail "this failed: $*"
  fi
  rm -f "$log"
}

check_node() {
  command -v node >/dev/null || fail "Node is missing: install Node $NODE_MAJOR_MIN or later"
  local version
  version=$(node --version)
  local major=${version#v}
  [ "${major%%.*}" -ge "$NODE_MAJOR_MIN" ] ||
    fail "Node $version is too old: install Node $NODE_MAJOR_MIN or later"
}

# Node's headers mostly lie beside it; told so, node-gyp does not download them.
find_headers() {
  local prefix
  prefix=$(node -p 'require("path").dirname(require("path").dirname(process.execPath))')
  [ -e "$prefix/include/node/node_api.h" ] || return 0
  export npm_config_nodedir=${npm_config_nodedir:-$prefix}
}

missing_packages() {
  local installed
  # dpkg-query fails when it knows one of them not at all, and still tells of the others.
  local format='${Package}=${db:Status-Status}\n'
  installed=$(dpkg-query -W -f "$format" "${APT_PACKAGES[@]}" 2>/dev/null || true)
  local package
  for package in "${APT_PACKAGES[@]}"; do
    [[ $'\n'$installed$'\n' == *$'\n'"$package=installed"$'\n'* ]] || printf '%s ' "$package"
  done
}

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "this is not Debian or Ubuntu: install the equivalents of ${APT_PACKAGES[*]}"
    return
  fi
  local missing
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    say "not root, so these packages stay missing: ${missing% }"
    return
  fi
  say "installing system packages: ${missing% }"
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get -q update
  # shellcheck disable=SC2086 # one word for each package
  quietly apt-get -q install --yes --no-install-recommends $missing
}

install_modules() {
  node scripts/modules-current.mjs && return 0
  find_headers
  say 'installing npm packages and building the add-on'
  quietly npm ci --no-audit --no-fund --loglevel=error
  touch "$ADDON_STAMP"
}

build_addon() {
  local release=native/build/Release
  local sources=(native/src native/binding.gyp native/sources.gypi bpf)
  if [ -e $release/xdp_socket.node ] && [ -e $release/xdp_redirect.o ] && [ -e $ADDON_STAMP ] &&
    [ -z "$(find "${sources[@]}" -newer $ADDON_STAMP -print -quit)" ]; then
    return 0
  fi
  say 'building the add-on'
  find_headers
  # Before the build: a source saved while it runs is built the next time.
  touch "$ADDON_STAMP.new"
  # By npm, which hands its own settings on to node-gyp.
  quietly npm exec --offline --workspace native -- node-gyp configure build
  mv "$ADDON_STAMP.new" "$ADDON_STAMP"
}

# make itself sees what is missing or older than its source.
build_generator() {
  make --silent --question -C generator && return 0
  say 'building the traffic generator'
  quietly make --silent -C generator
}

check_node
install_packages
install_modules
build_addon
build_generator
quietly npm run --silent build
# It is run by its name: README's alias, a link in /usr/bin.
chmod +x dist/src/cli/ringpath.js
