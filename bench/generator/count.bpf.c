// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The far end of the wire benchmarks: counts the generator's frames and drops them, at the tc hook
 * (the cheapest end for a frame that AF_XDP sent as an skb) or at XDP. Other frames pass and are
 * not counted.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frame.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frame_counters);
} counters SEC(".maps");

static __always_inline int is_ours(void *data, void *end)
{
	struct bench_payload *payload =
		data + sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr);

	return (void *)(payload + 1) <= end && payload->magic == bpf_htonl(BENCH_MAGIC);
}

static __always_inline void count(__u64 bytes)
{
	__u32 zero = 0;
	struct frame_counters *seen = bpf_map_lookup_elem(&counters, &zero);

	if (seen) {
		seen->frames++;
		seen->bytes += bytes;
	}
}

SEC("tc")
int count_tc(struct __sk_buff *skb)
{
	if (!is_ours((void *)(long)skb->data, (void *)(long)skb->data_end))
		return TC_ACT_OK;
	count(skb->len);
	return TC_ACT_SHOT;
}

SEC("xdp")
int count_xdp(struct xdp_md *ctx)
{
	if (!is_ours((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_PASS;
	count(ctx->data_end - ctx->data);
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
