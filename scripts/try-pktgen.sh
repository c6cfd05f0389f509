#!/usr/bin/env bash
# Runs `ringpath pktgen --engine pktgen` in a virtual machine with Debian's 6.12 kernel, which has the
# kernel's own packet generator: between two ends of a veth, with the counting sink at the far one.
# Nothing of this machine's network is in it, and nothing stays behind.
#
# Not part of `npm test`: it downloads a kernel package of 100 MB by apt, and emulates the
# processor (KVM is not everywhere): a minute or two. Needs: qemu-system-x86, busybox-static, cpio, xz-utils, kmod
# (apt-get install), and `npm run setup` before. Exit code 0: what was sent was counted.
set -euo pipefail
cd "$(dirname "$0")/.."

KERNEL_PACKAGE=linux-image-6.12-amd64
BOOT_SECONDS_MAX=${BOOT_SECONDS_MAX:-300}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
ROOT=$WORK/root

fail() { printf 'try-pktgen: %s\n' "$*" >&2; exit 1; }

for program in qemu-system-x86_64 busybox cpio xz apt-get dpkg-deb modprobe ip; do
  command -v "$program" >/dev/null || fail "$program is missing: see the head of this file"
done
[ -x build/generator/count ] || fail 'the generator is not built: npm run setup'

# The kernel and its modules, unpacked and not installed.
get_kernel() {
  local package
  package=$(apt-cache depends "$KERNEL_PACKAGE" | sed -n 's/.*Depends: \(linux-image-[^ ]*\)/\1/p')
  [ -n "$package" ] || fail "apt knows no $KERNEL_PACKAGE: apt-get update"
  (cd "$WORK" && apt-get -q download "$package" >/dev/null 2>&1 && dpkg-deb -x ./*.deb kernel)
  VERSION=${package#linux-image-}
  depmod --basedir "$WORK/kernel" "$VERSION"
}

# A program or add-on with the libraries that it loads.
add_binary() {
  local file library
  for file in "$@"; do
    install -D "$file" "$ROOT$(realpath "$file")"
    ldd "$file" 2>/dev/null | grep -o '/[^ )]*' | while read -r library; do
      [ -e "$ROOT$library" ] || install -D "$library" "$ROOT$library"
    done
  done
}

add_modules() {
  local module path
  for module in veth pktgen; do
    modprobe --dirname "$WORK/kernel" --set-version "$VERSION" --show-depends "$module" |
      sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++' >"$WORK/modules"
  while read -r path; do
    case $path in
      *.xz) xz -dc "$path" >"$ROOT/modules/$(basename "$path" .xz)" ;;
      *) cp "$path" "$ROOT/modules/" ;;
    esac
    printf '/bin/busybox insmod /modules/%s\n' "$(basename "$path" .xz)" >>"$ROOT/load"
  done <"$WORK/modules"
}

add_ringpath() {
  mkdir -p "$ROOT/app/node_modules/xdp-socket-napi" "$ROOT/app/dist"
  cp -r dist/src "$ROOT/app/dist/"
  cp -r package.json "$ROOT/app/"
  cp -r node_modules/commander node_modules/zod node_modules/yaml "$ROOT/app/node_modules/"
  cp -r native/package.json native/dist "$ROOT/app/node_modules/xdp-socket-napi/"
  mkdir -p "$ROOT/app/build/generator"
  cp build/generator/* "$ROOT/app/build/generator/"
}

write_init() {
  cat >"$ROOT/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
. /load
# By their paths: the shell has an ip of its own, which makes no veth.
ip=$(realpath "$(command -v ip)")
export PATH=\${ip%/*}:/bin
\$ip link set lo up
\$ip link add v0 type veth peer name v1
\$ip address add 10.0.0.1/24 dev v0
\$ip link set v0 up
\$ip link set v1 up
mac=\$(/bin/busybox cat /sys/class/net/v1/address)
/bin/busybox uname -r
$(realpath "$(command -v node)") /app/dist/src/cli/ringpath.js pktgen --engine pktgen --device v0 \
  --to 10.0.0.2:9 --to-mac \$mac --sink v1 --size 100 --flows 4 --rate 2k \
  --count 5000 --settle 3 -o json
echo "exit code \$?"
/bin/busybox poweroff -f
INIT
  chmod +x "$ROOT/init"
}

mkdir -p "$ROOT"/{bin,proc,sys,dev,modules,tmp}
get_kernel
add_binary "$(command -v node)" "$(command -v ip)" build/generator/count
install "$(command -v busybox)" "$ROOT/bin/busybox"
add_modules
add_ringpath
write_init
(cd "$ROOT" && find . | cpio --quiet -o -H newc | gzip -1) >"$WORK/initramfs"
timeout "$BOOT_SECONDS_MAX" qemu-system-x86_64 -machine accel=tcg -cpu max -m 2048 -smp 1 \
  -nographic -no-reboot -nic none -kernel "$WORK/kernel/boot/vmlinuz-$VERSION" \
  -initrd "$WORK/initramfs" -append 'console=ttyS0 quiet panic=-1' | tee "$WORK/output"
grep -q '"type":"result","sent":5000,.*"received":5000,.*"lost":0' "$WORK/output" ||
  fail 'what was sent was not counted: see above'
