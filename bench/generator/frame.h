/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the generator's frames look like, and what its programs in the kernel share with those that
 * load them.
 */
#pragma once

#include <linux/types.h>

/* A flow's number in its ports: 14 bits in the source port, the rest in the destination port. */
#define SOURCE_PORT_FIRST 1024
#define SOURCE_PORTS 16384
#define DESTINATION_PORT_FIRST 5120
#define FLOWS_MAX (SOURCE_PORTS * 1024)

/* "ring", by which a counter knows our frames from the kernel's own. */
#define BENCH_MAGIC 0x72696e67

#define FRAME_BYTES_MIN 64
#define FRAME_BYTES_MAX 1514

/* What VXLAN puts before the sender's frame: a counter finds ours behind it too. */
#define ENVELOPE_BYTES 50

struct bench_payload {
	__be32 magic;
	__u32 sequence;
	/* CLOCK_MONOTONIC; 0 when the sender does not pace itself. */
	__u64 sent_nanoseconds;
} __attribute__((packed));

/* The "simple IMIX" of 12 frames: 7 of 64 bytes, 4 of 570, 1 of 1514. */
#define MIX_SIZES 3
#define MIX_LENGTH 12

/* The lengths of a frame of that size, as they stand in its headers. */
struct mix_size {
	__u32 frame_bytes;
	__be16 ipv4_length;
	__be16 udp_length;
	__u16 ipv4_checksum;
	__u16 padding;
};

/* Ethernet, IPv4 and UDP. */
#define HEADER_BYTES 42

struct generator_settings {
	/*
	 * Written into every frame: its memory comes back as the last forwarder left it, with other
	 * addresses and a lower TTL, when that was the kernel and it was not copied.
	 */
	__u64 headers[(HEADER_BYTES + 7) / 8];
	__u32 out_device;
	__u32 flow_count;
	/* 2^16 times the nanoseconds from one frame to the next; 0 for as fast as possible. */
	__u64 interval_fixed_point;
	/* Not zero: frames are cut to the sizes of the mix. */
	__u32 is_mix;
	__u32 frame_bytes;
	struct mix_size sizes[MIX_SIZES];
	__u32 padding;
};

struct generator_state {
	__u64 frames_sent;
	__u64 due_fixed_point;
	__u32 flow;
	__u32 zero;
};

/*
 * A histogram of nanoseconds: 32 buckets to each power of two, exact below 32; so a bucket is known
 * to 3 %.
 */
#define LATENCY_STEPS_BITS 5
#define LATENCY_BUCKETS 1024

struct frame_counters {
	__u64 frames;
	__u64 bytes;
};
