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

struct bench_payload {
	__be32 magic;
	__u32 sequence;
} __attribute__((packed));

struct generator_settings {
	__u32 out_device;
	__u32 flow_count;
	/* 2^16 times the nanoseconds from one frame to the next; 0 for as fast as possible. */
	__u64 interval_fixed_point;
};

struct generator_state {
	__u64 frames_sent;
	__u64 due_fixed_point;
	__u32 flow;
	__u32 zero;
};

struct frame_counters {
	__u64 frames;
	__u64 bytes;
};
