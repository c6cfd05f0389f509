// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The far end of the wire benchmarks: counts the generator's frames and drops them, at the tc hook
 * (the cheapest end for a frame that AF_XDP sent as an skb) or at XDP, also when they come in an
 * envelope of VXLAN. Of frames that say when they were sent it keeps a histogram of how long they
 * took. Other frames pass and are not counted.
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

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LATENCY_BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} latencies SEC(".maps");

static __always_inline struct bench_payload *payload_at(void *frame, void *end)
{
	struct bench_payload *payload =
		frame + sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr);

	if ((void *)(payload + 1) > end || payload->magic != bpf_htonl(BENCH_MAGIC))
		return NULL;
	return payload;
}

static __always_inline __u32 latency_bucket(__u64 nanoseconds)
{
	__u32 exponent = 0, bucket;

	/* Five steps halve the distance to the highest bit: BPF has no instruction that finds it. */
	for (__u32 bits = 16; bits > 0; bits /= 2) {
		if (nanoseconds >> (exponent + bits + LATENCY_STEPS_BITS))
			exponent += bits;
	}
	if (nanoseconds >> (exponent + LATENCY_STEPS_BITS))
		exponent++;
	bucket = (exponent << LATENCY_STEPS_BITS) +
		 (__u32)(exponent > 0 ? (nanoseconds >> (exponent - 1)) - (1 << LATENCY_STEPS_BITS) :
					nanoseconds);
	return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static __always_inline void count_latency(__u64 sent_nanoseconds)
{
	__u32 bucket = latency_bucket(bpf_ktime_get_ns() - sent_nanoseconds);
	__u64 *seen = bpf_map_lookup_elem(&latencies, &bucket);

	if (seen)
		(*seen)++;
}

static __always_inline int count(void *frame, void *end, __u64 bytes)
{
	__u32 zero = 0;
	struct frame_counters *seen = bpf_map_lookup_elem(&counters, &zero);
	struct bench_payload *payload = payload_at(frame, end);

	if (!payload)
		payload = payload_at(frame + ENVELOPE_BYTES, end);
	if (!payload || !seen)
		return 0;
	seen->frames++;
	seen->bytes += bytes;
	if (payload->sent_nanoseconds)
		count_latency(payload->sent_nanoseconds);
	return 1;
}

SEC("tc")
int count_tc(struct __sk_buff *skb)
{
	void *frame = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	return count(frame, end, skb->len) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("xdp")
int count_xdp(struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	return count(frame, end, ctx->data_end - ctx->data) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
