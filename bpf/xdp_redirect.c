// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Steering: decides which frames of a device go to its AF_XDP sockets, and nothing else. The file is
 * over 400 lines because a kernel object has one source.
 *
 * One instance with its own maps is attached per device. In POD mode each frame goes to the ring of
 * its queue, and a queue without a socket drops (policy fails closed). In UPLINK mode only what is
 * ours goes to the ring and all else, and everything while no socket is there, passes to the
 * kernel: a login to the node never depends on us.
 *
 * Ours on an uplink: a destination in `pod_cidrs`; a destination address, port and protocol in
 * `frontends` (overlay port, services, NodePorts); a destination in `nat_addresses` whose port is
 * marked in `nat_ports`; an ICMP error that quotes a packet sent from one of those; ARP for an
 * address in `announced`; the later fragments of an IPv4 datagram whose first one was ours; frames of
 * a VLAN that is not in `vlans`, once somebody filters VLANs. Not looked into, so passed: other
 * VLAN-tagged frames, and IPv6 extension headers unless the destination is in a pod CIDR. Of a packet
 * of several buffers only the first is looked into, which has the headers.
 *
 * UPLINK_KEEP mode is for a program that stays while its datapath is replaced: what is ours is dropped
 * for that time, or the kernel would reset connections that it knows nothing of. What may be the
 * kernel's too (ARP, and what `guarded` gives us) passes even then.
 *
 * Of an IPv4 address in `guarded`, ours is also what begins something: a SYN, an echo request, and
 * UDP for which the kernel has no connected socket. The node's own connections stay the kernel's.
 *
 * Before all that, what comes from a prefix in `denied` is dropped, for whomever it may be.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define QUEUES_MAX 64
#define VERDICTS 3
#define PORTS 65536
#define FRAGMENTS_MAX 8192

enum mode { MODE_POD = 0, MODE_UPLINK = 1, MODE_UPLINK_KEEP = 2 };
/* Keys of `settings`: the mode, and what user space notes there of the program's version. */
enum setting { SETTING_MODE = 0, SETTING_OBJECT_HASH = 1, SETTINGS = 2 };
/* Whose a frame is on an uplink. */
enum owner { KERNEL = 0, OURS = 1, OURS_FIRST = 2 };
enum counter { COUNT_REDIRECT = 0, COUNT_PASS = 1, COUNT_DROP = 2 };
/* Rows of nat_ports; an ICMP echo's identifier is its port. */
enum nat_row { NAT_TCP = 0, NAT_UDP = 1, NAT_ICMP = 2, NAT_SCTP = 3, NAT_ROWS = 4 };

#define ARP_IPV4_BYTES 28
#define ARP_TARGET_ADDRESS 24
#define FRAGMENT_OFFSET 0x1fff
#define MORE_FRAGMENTS 0x2000
#define VLAN_ID 0xfff
/* A key of `vlans` that is no id: there is a filter. */
#define VLAN_FILTER_ON 4096

/* linux/icmp.h needs the C library. */
enum icmp_type { ICMP_ECHO_REPLY = 0, ICMP_UNREACHABLE = 3, ICMP_ECHO_REQUEST = 8,
		 ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETER_PROBLEM = 12 };

/* An IPv4 address is ::ffff:a.b.c.d. All maps hold network byte order. */
struct address {
	__be32 words[4];
};

struct frontend {
	struct address address; /* all zero: any address, for NodePorts */
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

/* What all fragments of a datagram have in common (RFC 791). */
struct datagram {
	__be32 source, destination;
	__be16 id;
	__u8 protocol;
	__u8 zero;
};

struct icmp_header {
	__u8 type, code;
	__be16 checksum;
	__be16 id, sequence; /* not in an error */
};

struct cidr {
	__u32 prefix_bits; /* of the four words: 96 more than an IPv4 prefix */
	struct address address;
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SETTINGS);
	__type(key, __u32);
	__type(value, __u32);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, QUEUES_MAX * VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* A set of keys: the value says nothing. */
#define SET_MAP(name, kind, key_type, entries)             \
	struct {                                           \
		__uint(type, kind);                        \
		__uint(max_entries, entries);              \
		__uint(map_flags, BPF_F_NO_PREALLOC);      \
		__type(key, key_type);                     \
		__type(value, __u8);                       \
	} name SEC(".maps")

SET_MAP(frontends, BPF_MAP_TYPE_HASH, struct frontend, 65536);
SET_MAP(pod_cidrs, BPF_MAP_TYPE_LPM_TRIE, struct cidr, 65536);
SET_MAP(nat_addresses, BPF_MAP_TYPE_HASH, struct address, 256);
SET_MAP(guarded, BPF_MAP_TYPE_HASH, struct address, 256);
SET_MAP(announced, BPF_MAP_TYPE_HASH, struct address, 4096);
SET_MAP(denied, BPF_MAP_TYPE_LPM_TRIE, struct cidr, 65536);
SET_MAP(vlans, BPF_MAP_TYPE_HASH, __u32, 4096 + 1);

/* Datagrams whose first fragment is ours: only that one tells a port. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct datagram);
	__type(value, __u8);
} datagrams SEC(".maps");

/* A byte per port: user space marks one with a plain store through its mapping, without a lock. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NAT_ROWS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u8[PORTS]);
} nat_ports SEC(".maps");

static __always_inline void set_ipv4(struct address *address, __be32 word)
{
	address->words[0] = 0;
	address->words[1] = 0;
	address->words[2] = bpf_htonl(0xffff);
	address->words[3] = word;
}

static __always_inline int has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

/* Is this our end of a connection: where a packet goes to, or where a quoted packet came from? */
static __always_inline int is_our_port(const struct address *address, __be16 port, __u8 protocol)
{
	struct frontend key = { .address = *address, .port = port, .protocol = protocol };
	const struct frontend any = { .port = port, .protocol = protocol };
	__u32 row = NAT_ICMP;
	__u64 host_port = bpf_ntohs(port);
	const __u8 *in_use;

	if (protocol == IPPROTO_TCP)
		row = NAT_TCP;
	else if (protocol == IPPROTO_UDP)
		row = NAT_UDP;
	else if (protocol == IPPROTO_SCTP)
		row = NAT_SCTP;

	if (bpf_map_lookup_elem(&frontends, &key) || bpf_map_lookup_elem(&frontends, &any))
		return 1;
	if (!bpf_map_lookup_elem(&nat_addresses, address))
		return 0;
	in_use = bpf_map_lookup_elem(&nat_ports, &row);
	/* The compiler knows that these are 16 bits; the verifier of Linux 6.1 forgets it at a byte swap. */
	asm volatile("%0 &= 0xffff" : "+r"(host_port));
	return in_use && in_use[host_port];
}

static __always_inline int is_our_arp(void *at, void *end)
{
	struct address target;

	if (at + ARP_IPV4_BYTES > end)
		return 0;
	set_ipv4(&target, *(__be32 *)(at + ARP_TARGET_ADDRESS));
	return bpf_map_lookup_elem(&announced, &target) != 0;
}

/* RFC 792: an error quotes the IP header and eight bytes of the packet that caused it. */
static __always_inline int is_our_icmp_error(void *at, void *end)
{
	struct iphdr *quoted = at;
	struct icmp_header *echo;
	struct address source;

	if ((void *)(quoted + 1) > end || quoted->ihl < 5)
		return 0;
	if (quoted->frag_off & bpf_htons(FRAGMENT_OFFSET))
		return 0;
	set_ipv4(&source, quoted->saddr);
	echo = at + quoted->ihl * 4;
	if ((void *)(echo + 1) > end)
		return 0;
	if (has_ports(quoted->protocol))
		return is_our_port(&source, ((struct udphdr *)echo)->source, quoted->protocol);
	if (quoted->protocol == IPPROTO_ICMP)
		return is_our_port(&source, echo->id, IPPROTO_ICMP);
	return 0;
}

static __always_inline int is_our_transport(const struct address *to, __u8 protocol, void *at,
					    void *end)
{
	struct icmp_header *icmp = at;
	__be16 *ports = at; /* source, destination: at the same place in all that have them */

	if (has_ports(protocol)) {
		if ((void *)(ports + 2) > end)
			return 0;
		return is_our_port(to, ports[1], protocol);
	}
	if (protocol != IPPROTO_ICMP || (void *)(icmp + 1) > end)
		return 0;
	if (icmp->type == ICMP_ECHO_REPLY)
		return is_our_port(to, icmp->id, IPPROTO_ICMP);
	if (icmp->type == ICMP_UNREACHABLE || icmp->type == ICMP_TIME_EXCEEDED ||
	    icmp->type == ICMP_PARAMETER_PROBLEM)
		return is_our_icmp_error(icmp + 1, end);
	return 0;
}

static __always_inline int has_connected_udp(struct xdp_md *ctx, struct iphdr *ipv4,
					     struct udphdr *udp)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	int connected;

	tuple.ipv4.saddr = ipv4->saddr;
	tuple.ipv4.daddr = ipv4->daddr;
	tuple.ipv4.sport = udp->source;
	tuple.ipv4.dport = udp->dest;
	socket = bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return 0;
	connected = socket->state == BPF_TCP_ESTABLISHED;
	bpf_sk_release(socket);
	return connected;
}

/* For the node itself, and not of a connection that its kernel has. */
static __always_inline int is_guarded_start(struct xdp_md *ctx, struct iphdr *ipv4,
					    const struct address *to, void *end)
{
	void *at = (void *)ipv4 + ipv4->ihl * 4;
	struct tcphdr *tcp = at;
	struct udphdr *udp = at;
	struct icmp_header *icmp = at;

	if (!bpf_map_lookup_elem(&guarded, to))
		return 0;
	if (ipv4->protocol == IPPROTO_TCP)
		return (void *)(tcp + 1) <= end && tcp->syn && !tcp->ack;
	if (ipv4->protocol == IPPROTO_UDP)
		return (void *)(udp + 1) <= end && !has_connected_udp(ctx, ipv4, udp);
	if (ipv4->protocol == IPPROTO_ICMP)
		return (void *)(icmp + 1) <= end && icmp->type == ICMP_ECHO_REQUEST;
	return 0;
}

/* The first fragment's fate is that of the later ones; an identification comes round again. */
static __always_inline int ipv4_owner(struct xdp_md *ctx, struct iphdr *ipv4,
				       const struct address *to, void *end)
{
	struct datagram datagram = { .source = ipv4->saddr, .destination = ipv4->daddr,
				     .id = ipv4->id, .protocol = ipv4->protocol };
	__u8 owner = KERNEL;
	const __u8 *first;

	if (ipv4->frag_off & bpf_htons(FRAGMENT_OFFSET)) {
		first = bpf_map_lookup_elem(&datagrams, &datagram);
		return first ? *first : KERNEL;
	}
	if (is_our_transport(to, ipv4->protocol, (void *)ipv4 + ipv4->ihl * 4, end))
		owner = OURS;
	else if (is_guarded_start(ctx, ipv4, to, end))
		owner = OURS_FIRST;
	if (!(ipv4->frag_off & bpf_htons(MORE_FRAGMENTS)))
		return owner;
	if (owner != KERNEL)
		bpf_map_update_elem(&datagrams, &datagram, &owner, BPF_ANY);
	else
		bpf_map_delete_elem(&datagrams, &datagram);
	return owner;
}

/* IEEE 802.1Q: the type, then priority and id. Id 0 names no VLAN. */
static __always_inline int is_unwanted_vlan(void *at, void *end)
{
	__be16 *control = at;
	__u32 id, filter_on = VLAN_FILTER_ON;

	if ((void *)(control + 1) > end)
		return 0;
	id = bpf_ntohs(*control) & VLAN_ID;
	return id != 0 && bpf_map_lookup_elem(&vlans, &filter_on) &&
	       !bpf_map_lookup_elem(&vlans, &id);
}

static __always_inline int is_denied(void *at, void *end)
{
	struct ethhdr *ethernet = at;
	struct iphdr *ipv4 = at + sizeof(*ethernet);
	struct ipv6hdr *ipv6 = at + sizeof(*ethernet);
	struct cidr from = { .prefix_bits = 128 };

	if ((void *)(ethernet + 1) > end)
		return 0;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP) && (void *)(ipv4 + 1) <= end)
		set_ipv4(&from.address, ipv4->saddr);
	else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6) && (void *)(ipv6 + 1) <= end)
		__builtin_memcpy(&from.address, &ipv6->saddr, sizeof(from.address));
	else
		return 0;
	return bpf_map_lookup_elem(&denied, &from) != 0;
}

static __always_inline int owner_of(struct xdp_md *ctx)
{
	void *at = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = at;
	struct iphdr *ipv4 = at + sizeof(*ethernet);
	struct ipv6hdr *ipv6 = at + sizeof(*ethernet);
	struct cidr to = { .prefix_bits = 128 };
	__u8 protocol;

	if ((void *)(ethernet + 1) > end)
		return KERNEL;
	if (ethernet->h_proto == bpf_htons(ETH_P_ARP))
		return is_our_arp(ethernet + 1, end) ? OURS_FIRST : KERNEL;
	if (ethernet->h_proto == bpf_htons(ETH_P_8021Q) ||
	    ethernet->h_proto == bpf_htons(ETH_P_8021AD))
		return is_unwanted_vlan(ethernet + 1, end) ? OURS : KERNEL;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		if ((void *)(ipv4 + 1) > end || ipv4->ihl < 5)
			return KERNEL;
		set_ipv4(&to.address, ipv4->daddr);
		if (bpf_map_lookup_elem(&pod_cidrs, &to))
			return OURS;
		return ipv4_owner(ctx, ipv4, &to.address, end);
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ipv6 + 1) > end)
			return KERNEL;
		__builtin_memcpy(&to.address, &ipv6->daddr, sizeof(to.address));
		if (bpf_map_lookup_elem(&pod_cidrs, &to))
			return OURS;
		/* ICMP of IPv4 means nothing here; ICMPv6 has another number and passes. */
		protocol = ipv6->nexthdr == IPPROTO_ICMP ? 0 : ipv6->nexthdr;
		return is_our_transport(&to.address, protocol, ipv6 + 1, end) ? OURS : KERNEL;
	}
	return KERNEL;
}

/* The action in the flags is what bpf_redirect_map answers when the queue has no socket. */
static __always_inline long on_uplink(struct xdp_md *ctx, __u32 mode)
{
	int owner;

	if (is_denied((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_DROP;
	owner = owner_of(ctx);
	if (owner == KERNEL)
		return XDP_PASS;
	if (mode == MODE_UPLINK_KEEP && owner == OURS)
		return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

SEC("xdp")
int xdp_redirect(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index, key = SETTING_MODE, index;
	const __u32 *mode = bpf_map_lookup_elem(&settings, &key);
	__u64 *count;
	long action;

	if (mode && *mode != MODE_POD)
		action = on_uplink(ctx, *mode);
	else
		action = bpf_redirect_map(&sockets, queue, XDP_DROP);

	index = (queue < QUEUES_MAX ? queue : QUEUES_MAX - 1) * VERDICTS;
	index += action == XDP_REDIRECT ? COUNT_REDIRECT : action == XDP_PASS ? COUNT_PASS : COUNT_DROP;
	count = bpf_map_lookup_elem(&counters, &index);
	if (count)
		(*count)++;
	return action;
}

char _license[] SEC("license") = "Dual BSD/GPL";
