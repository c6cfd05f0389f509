// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The sender of the wire benchmarks: run by BPF_PROG_RUN on live frames
 * (Documentation/bpf/bpf_prog_run.rst), it writes each frame's headers, numbers it, gives it its
 * flow's ports, and sends it out of one device. It paces itself, because a call costs some 25 ms to set up.
 *
 * The frame is UDP over IPv4 without a UDP checksum (RFC 768 allows it), so that new ports need no
 * other change. It makes no TCP, no IPv6 and no fragments.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frame.h"

/* More than this behind, the sender forgets what it owes instead of sending a flood later. */
#define BEHIND_MAX_NANOSECONDS 1000000

/* The only object in .rodata, set before loading. */
const volatile struct generator_settings settings;
/* The only object in .bss. */
struct generator_state state;

struct frame {
	struct ethhdr ethernet;
	struct iphdr ipv4;
	struct udphdr udp;
	struct bench_payload payload;
} __attribute__((packed));

static __always_inline int is_due(__u64 *nanoseconds)
{
	__u64 now, behind_max = (__u64)BEHIND_MAX_NANOSECONDS << 16;

	*nanoseconds = 0;
	if (settings.interval_fixed_point == 0)
		return 1;
	*nanoseconds = bpf_ktime_get_ns();
	now = *nanoseconds << 16;
	if (now < state.due_fixed_point)
		return 0;
	if (now - state.due_fixed_point > behind_max)
		state.due_fixed_point = now;
	state.due_fixed_point += settings.interval_fixed_point;
	return 1;
}

/* Not by memcpy, which takes a volatile object for what it is before it is set: zeros. */
static __always_inline void write_headers(void *frame)
{
	const int words = HEADER_BYTES / 8;
	__u64 *to = frame;

#pragma unroll
	for (int i = 0; i < words; i++)
		to[i] = settings.headers[i];
	*(__u16 *)(to + words) = (__u16)settings.headers[words];
}

/* 64 64 570 64 64 570 64 64 570 64 570 1514 */
static __always_inline __u32 mix_index(__u32 place)
{
	if (place == MIX_LENGTH - 1)
		return 2;
	return place % 3 == 2 || place == 10;
}

static __always_inline int cut(struct xdp_md *ctx, struct frame *frame)
{
	const volatile struct mix_size *size = &settings.sizes[mix_index(state.frames_sent % MIX_LENGTH)];

	frame->ipv4.tot_len = size->ipv4_length;
	frame->ipv4.check = size->ipv4_checksum;
	frame->udp.len = size->udp_length;
	if (size->frame_bytes == settings.frame_bytes)
		return 1;
	return bpf_xdp_adjust_tail(ctx, (int)size->frame_bytes - (int)settings.frame_bytes) == 0;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(long)ctx->data;
	__u64 now;

	if ((void *)(frame + 1) > (void *)(long)ctx->data_end || !is_due(&now))
		return XDP_DROP;
	write_headers(frame);
	frame->payload.magic = bpf_htonl(BENCH_MAGIC);
	frame->udp.source = bpf_htons(SOURCE_PORT_FIRST + (state.flow & (SOURCE_PORTS - 1)));
	frame->udp.dest = bpf_htons(DESTINATION_PORT_FIRST + state.flow / SOURCE_PORTS);
	frame->payload.sequence = (__u32)state.frames_sent;
	frame->payload.sent_nanoseconds = now;
	if (settings.is_mix && !cut(ctx, frame))
		return XDP_ABORTED;
	state.frames_sent++;
	state.flow = state.flow + 1 < settings.flow_count ? state.flow + 1 : 0;
	return bpf_redirect(settings.out_device, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
