#!/usr/bin/env bash
# Two pods of a node for trying things out, in network namespaces of their own: the machine's own
# network stays as it is. As root: `bash examples/node/pods.sh up`, and `down` when you are done.
# What it makes is what node.yaml and the manifests beside it describe.
set -euo pipefail

NODE=rp-node

make_pod() { # name address mac
  ip netns add "rp-$1"
  ip -n $NODE link add "lxc-$1" type veth peer name eth0 address "$3" netns "rp-$1"
  ip -n $NODE link set "lxc-$1" up
  ip netns exec "rp-$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
  ip -n "rp-$1" link set lo up
  ip -n "rp-$1" address add "$2/32" dev eth0
  ip -n "rp-$1" link set eth0 up
  # Everything by way of a gateway that the datapath answers ARP for.
  ip -n "rp-$1" route add 169.254.1.1 dev eth0 scope link
  ip -n "rp-$1" route add default via 169.254.1.1 dev eth0
}

up() {
  ip netns add $NODE
  ip netns exec $NODE sysctl -qw net.ipv6.conf.all.disable_ipv6=1
  ip -n $NODE link set lo up
  make_pod client 10.0.1.1 02:00:00:00:01:01
  make_pod web 10.0.1.2 02:00:00:00:01:02
}

down() {
  local name
  for name in client web node; do
    ip netns del "rp-$name" 2>/dev/null || true
  done
}

case ${1-} in
up | down) "$1" ;;
*)
  echo "usage: bash $0 up | down" >&2
  exit 2
  ;;
esac
