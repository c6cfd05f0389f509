// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The generator in the kernel: run by BPF_PROG_RUN on live frames
 * (Documentation/bpf/bpf_prog_run.rst), it writes the headers of each frame afresh from a template,
 * gives it its flow's addresses and ports, its number and the time, and sends it out of one device.
 * It paces itself, because a call costs some 25 ms to set up.
 *
 * What the templates hold is src/pktgen/plan.ts's matter; src/pktgen/frame-writer.ts writes the same
 * frames in TypeScript, and a test compares them byte by byte. A frame's bytes behind the tag are
 * zeros as long as nothing on the way edits them in place: the kernel reuses its pages.
 *
 * The settings never change, which the verifier sees: it takes away what they do not ask for. So a
 * plain stream of UDP costs a copy of its headers, ports and tag, and a question about the settings nothing.
 * Not here: IPv6, fragments, answers to what comes back.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "plan.h"

/* Behind by more than both, the sender forgets what it owes instead of sending a flood later. */
#define BEHIND_MAX_NANOSECONDS 1000000
#define BEHIND_MAX_FRAMES 64

const volatile struct generator_settings settings;
struct frame_templates frames SEC(".data.frames");
struct generator_state state;

static __always_inline __u32 next_template(void)
{
	if (settings.mode == MODE_SYN || settings.template_count == 1)
		return 0;
	if (settings.mode == MODE_UDP)
		return frames.schedule[state.position & (SCHEDULE_MAX - 1)];
	if (state.step == 0)
		return TEMPLATE_SYN;
	return state.step + 1 == settings.steps ? TEMPLATE_FIN : TEMPLATE_DATA;
}

/* Whether the next frame may go now; `now` is read where a clock is needed. */
static __always_inline int is_due(__u64 interval, __u64 *now)
{
	__u64 since, behind_max = (__u64)BEHIND_MAX_NANOSECONDS << 16;

	if (settings.frame_count != 0 && state.frames_sent >= settings.frame_count)
		return 0;
	if (!settings.is_paced && !settings.has_timestamps && settings.duration == 0 && state.frames_sent)
		return 1;
	*now = bpf_ktime_get_ns();
	if (state.frames_sent == 0)
		state.first_nanoseconds = *now;
	if (settings.duration != 0 && *now - state.first_nanoseconds >= settings.duration)
		return 0;
	state.last_nanoseconds = *now;
	if (!settings.is_paced)
		return 1;
	since = (*now - state.first_nanoseconds) << 16;
	if (since < state.due_fixed_point)
		return 0;
	if (behind_max < interval * BEHIND_MAX_FRAMES)
		behind_max = interval * BEHIND_MAX_FRAMES;
	if (since - state.due_fixed_point > behind_max) {
		state.due_fixed_point = since;
		state.times_behind++;
	}
	state.due_fixed_point += interval;
	return 1;
}

/* 0 when the next digit of the flow's number has to move, too. */
static __always_inline int advance(__u32 *index, __u32 count)
{
	if (count == 1)
		return 0;
	*index = *index + 1 < count ? *index + 1 : 0;
	return *index != 0;
}

static __always_inline void next_flow(void)
{
	if (settings.schedule_length > 1)
		state.position = state.position + 1 < settings.schedule_length ? state.position + 1 : 0;
	if (settings.flow_count > 1 && ++state.flow < settings.flow_count) {
		if (advance(&state.source_port, settings.source_ports.count) ||
		    advance(&state.destination_port, settings.destination_ports.count) ||
		    advance(&state.source, settings.sources.count))
			return;
		advance(&state.destination, settings.destinations.count);
		return;
	}
	state.flow = 0;
	state.source_port = 0;
	state.destination_port = 0;
	state.source = 0;
	state.destination = 0;
	if (settings.steps == 1)
		return;
	state.step = state.step + 1 < settings.steps ? state.step + 1 : 0;
	if (state.step == 0)
		state.round_begin = (__u32)state.frames_sent;
}

/* RFC 1071: 2^16 is 1 in this arithmetic, so 32-bit words may be added whole. */
static __always_inline __u16 complement(__u64 sum)
{
	sum = (sum >> 32) + (__u32)sum;
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (__u16)~sum;
}

static __always_inline __u64 write_tag(struct frame_tag *tag, __u32 sequence, __u64 now)
{
	const __u64 time = settings.has_timestamps ? now : 0;

	tag->magic_and_sequence = bpf_cpu_to_be64((__u64)TAG_MAGIC << 32 | sequence);
	tag->time = bpf_cpu_to_be64(time);
	return (__u64)sequence + (time >> 32) + (__u32)time;
}

/* Where the segment lies in its connection's stream; the SYN's own number is that of its frame. */
static __always_inline __u32 tcp_sequence(__u32 sequence)
{
	__u32 initial;

	if (settings.mode == MODE_SYN || state.step == 0)
		return sequence;
	initial = state.round_begin + state.flow;
	return initial + 1 + (state.step - 1) * settings.payload_bytes;
}

static __always_inline int write_l4(void *l4, void *end, __u64 sum, __u64 now)
{
	const __u16 from = (__u16)(settings.source_ports.first + state.source_port);
	const __u16 to = (__u16)(settings.destination_ports.first + state.destination_port);
	const __u32 sequence = (__u32)state.frames_sent;
	struct tcphdr *tcp = l4;
	struct udphdr *udp = l4;

	sum += (__u64)from + to;
	if (settings.mode == MODE_UDP) {
		if (l4 + sizeof(*udp) + sizeof(struct frame_tag) > end)
			return 0;
		udp->source = bpf_htons(from);
		udp->dest = bpf_htons(to);
		sum += write_tag((void *)(udp + 1), sequence, now);
		if (settings.has_checksum) {
			const __u16 check = complement(sum);

			udp->check = check == 0 ? 0xffff : bpf_htons(check);
		}
		return 1;
	}
	if ((void *)(tcp + 1) > end)
		return 0;
	tcp->source = bpf_htons(from);
	tcp->dest = bpf_htons(to);
	tcp->seq = bpf_htonl(tcp_sequence(sequence));
	sum += tcp_sequence(sequence);
	if (settings.mode == MODE_CONNECTION && state.step != 0) {
		if ((void *)(tcp + 1) + sizeof(struct frame_tag) > end)
			return 0;
		sum += write_tag((void *)(tcp + 1), sequence, now);
	}
	tcp->check = bpf_htons(complement(sum));
	return 1;
}

/* Of the flow's own addresses; a template has those of the first flow, and the checksum with them. */
static __always_inline __u64 write_addresses(struct iphdr *ipv4,
					     const struct frame_template *template)
{
	const __u32 source = settings.sources.first + state.source;
	const __u32 destination = settings.destinations.first + state.destination;
	const __u64 sum = (__u64)source + destination;

	if (settings.sources.count == 1 && settings.destinations.count == 1)
		return sum;
	ipv4->saddr = bpf_htonl(source);
	ipv4->daddr = bpf_htonl(destination);
	ipv4->check = bpf_htons(complement(template->ipv4_sum + sum));
	return sum;
}

static __always_inline int write_frame(void *data, void *end, const struct frame_template *template,
				       __u64 now)
{
	struct iphdr *ipv4 = data + settings.l3_offset;
	const int words = HEADER_BYTES / sizeof(__u64);
	__u64 *header = data;
	__u64 addresses;

	if (data + HEADER_BYTES > end || (void *)(ipv4 + 1) > end)
		return 0;
#pragma unroll
	for (int i = 0; i < words; i++)
		header[i] = template->header[i];
	*(__u32 *)(header + words) = (__u32)template->header[words];
	addresses = write_addresses(ipv4, template);
	return write_l4(ipv4 + 1, end, template->l4_sum + addresses, now);
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	const struct frame_template *template = &frames.templates[next_template() & (TEMPLATES_MAX - 1)];
	__u64 now = 0;

	if (!is_due(template->interval_fixed_point, &now))
		return XDP_DROP;
	/* The frame is given back its full length before the next run. */
	if (settings.template_count > 1 &&
	    bpf_xdp_adjust_tail(ctx, (int)template->frame_bytes - (int)settings.frame_bytes_max))
		return XDP_ABORTED;
	if (!write_frame((void *)(long)ctx->data, (void *)(long)ctx->data_end, template, now))
		return XDP_ABORTED;
	state.frames_sent++;
	/* Of one size the loader knows without counting. */
	if (settings.template_count > 1)
		state.bytes_sent += template->frame_bytes;
	next_flow();
	return bpf_redirect(settings.out_device, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
