// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The far end: counts a generator's frames and drops them, at XDP or at the tc hook (the cheapest end
 * for a frame that AF_XDP sent as an skb). It knows duplicates, frames out of order (RFC 4737: one
 * that a later one of its flow has overtaken) and, where sender and receiver share a clock, how long
 * each was under way. Other frames pass.
 *
 * src/pktgen/sequence-tracker.ts and latency-histogram.ts do the same in TypeScript. The generators
 * known are ours and the kernel's pktgen, also in an envelope of VXLAN. Not here: IPv6.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "plan.h"

const volatile struct sink_settings settings;
/* By number modulo the window, the last number seen plus one. */
__u32 seen[DUPLICATE_WINDOW];

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sink_counters);
} counters SEC(".maps");

/* By flow, the number after the highest seen; made as large as there are flows. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next_expected SEC(".maps");

/* Ethernet, IPv4 without options, UDP and VXLAN: a sender's frame may lie behind them (RFC 7348). */
#define ENVELOPE_BYTES 50

struct vlan_header {
	__be16 tci;
	__be16 protocol;
};

struct sighting {
	__u32 sequence;
	/* CLOCK_MONOTONIC of sending; 0 when the frame does not tell. */
	__u64 sent_nanoseconds;
};

static __always_inline int read_tag(void *payload, void *end, struct sighting *found)
{
	struct frame_tag *tag = payload;

	if ((void *)(tag + 1) > end)
		return 0;
	found->sequence = bpf_ntohl(tag->sequence);
	if (tag->magic == bpf_htonl(TAG_MAGIC)) {
		found->sent_nanoseconds = (__u64)bpf_ntohl(tag->time_high) << 32 | bpf_ntohl(tag->time_low);
		return 1;
	}
	if (tag->magic != bpf_htonl(PKTGEN_MAGIC))
		return 0;
	/* Its numbers begin with 1. */
	found->sequence--;
	if (tag->time_high != 0)
		found->sent_nanoseconds = bpf_ntohl(tag->time_high) * 1000000000ULL +
					  bpf_ntohl(tag->time_low) * 1000ULL - settings.real_time_offset;
	return 1;
}

static __always_inline int read_tcp(struct tcphdr *tcp, void *end, struct sighting *found)
{
	if ((void *)(tcp + 1) > end || tcp->window != bpf_htons(TAG_WINDOW))
		return 0;
	if (tcp->syn && !tcp->ack) {
		found->sequence = bpf_ntohl(tcp->seq);
		return 1;
	}
	return read_tag(tcp + 1, end, found);
}

/* Whether the frame is a generator's. A driver may have taken a VLAN tag off. */
static __always_inline int read_frame(void *data, void *end, struct sighting *found)
{
	struct ethhdr *ethernet = data;
	void *l3 = ethernet + 1;
	struct iphdr *ipv4;
	__be16 protocol;

	if (l3 > end)
		return 0;
	protocol = ethernet->h_proto;
	if (protocol == bpf_htons(ETH_P_8021Q)) {
		struct vlan_header *vlan = l3;

		if ((void *)(vlan + 1) > end)
			return 0;
		protocol = vlan->protocol;
		l3 = vlan + 1;
	}
	ipv4 = l3;
	if (protocol != bpf_htons(ETH_P_IP) || (void *)(ipv4 + 1) > end || ipv4->ihl != 5)
		return 0;
	if (ipv4->protocol == IPPROTO_UDP)
		return read_tag((void *)(ipv4 + 1) + sizeof(struct udphdr), end, found);
	return ipv4->protocol == IPPROTO_TCP && read_tcp((void *)(ipv4 + 1), end, found);
}

static __always_inline void count_order(struct sink_counters *mine, __u32 sequence)
{
	const __u32 flows = settings.flow_count;
	__u32 flow = flows > 1 ? sequence % flows : 0;
	__u32 *slot = &seen[sequence & (DUPLICATE_WINDOW - 1)];
	__u32 *next = bpf_map_lookup_elem(&next_expected, &flow);
	__u32 extent;

	/* Two CPUs that see the same number within nanoseconds miss it: an atomic exchange costs more. */
	if (*slot == sequence + 1) {
		mine->duplicates++;
		return;
	}
	*slot = sequence + 1;
	if (!next)
		return;
	if ((__s32)(sequence - *next) >= 0) {
		*next = sequence + 1;
		if (mine->highest_sequence < (__u64)sequence + 1)
			mine->highest_sequence = (__u64)sequence + 1;
		return;
	}
	mine->reordered++;
	extent = (*next - 1 - sequence) / (flows > 1 ? flows : 1);
	if (extent > mine->reorder_extent)
		mine->reorder_extent = extent;
}

static __always_inline __u32 bucket_of(__u64 latency)
{
	__u64 rest = latency;
	__u32 power = 0;

	if (latency < 1 << HISTOGRAM_STEP_BITS)
		return (__u32)latency;
#pragma unroll
	for (int bits = 32; bits > 0; bits >>= 1)
		if (rest >> bits) {
			rest >>= bits;
			power += (__u32)bits;
		}
	return ((power - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS) +
	       ((latency >> (power - HISTOGRAM_STEP_BITS)) & ((1 << HISTOGRAM_STEP_BITS) - 1));
}

static __always_inline void count_latency(struct sink_counters *mine, __u64 sent, __u64 now)
{
	__u64 latency = now > sent ? now - sent : 0;

	if (latency > LATENCY_MAX)
		latency = LATENCY_MAX;
	mine->latency_sum += latency;
	/* One more than the latency, so that 0 says that there was none yet. */
	if (mine->latency_min == 0 || latency + 1 < mine->latency_min)
		mine->latency_min = latency + 1;
	if (latency > mine->latency_max)
		mine->latency_max = latency;
	mine->histogram[bucket_of(latency) & (HISTOGRAM_BUCKETS - 1)]++;
}

static __always_inline int count(void *data, void *end, __u64 bytes)
{
	struct sighting found = { 0, 0 };
	__u32 zero = 0;
	struct sink_counters *mine = bpf_map_lookup_elem(&counters, &zero);

	if (!mine)
		return 0;
	if (!read_frame(data, end, &found) && !read_frame(data + ENVELOPE_BYTES, end, &found)) {
		mine->others++;
		return 0;
	}
	mine->frames++;
	mine->bytes += bytes;
	if (settings.checks_order)
		count_order(mine, found.sequence);
	if (settings.checks_latency && found.sent_nanoseconds != 0)
		count_latency(mine, found.sent_nanoseconds, bpf_ktime_get_ns());
	return 1;
}

SEC("tc")
int count_tc(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	return count(data, end, skb->len) || settings.drops_others ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("xdp")
int count_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	return count(data, end, (__u64)(end - data)) || settings.drops_others ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
