/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the generator in the kernel is told, and what a frame of ours carries. src/pktgen/plan-bytes.ts
 * writes `struct generator_plan` and src/pktgen/tag.ts knows the tag: numbers here and there are the
 * same, little-endian, and a test compares the sizes.
 */
#pragma once

#include <linux/types.h>

#define PLAN_VERSION 2
#define TEMPLATES_MAX 8
#define SCHEDULE_MAX 1024
/* The least frame (without its checksum trailer), and what a template holds of each. */
#define HEADER_BYTES 60
/* Of 64 bits; of the last one half is used. */
#define HEADER_WORDS 8
#define FRAME_BYTES_MAX 3000

enum traffic_mode {
	MODE_UDP = 0,
	/* A SYN per frame; its sequence number is ours. */
	MODE_SYN = 1,
	/* SYN, data, FIN of each flow, again and again; a direction without answers. */
	MODE_CONNECTION = 2,
};

/* Of MODE_CONNECTION. */
#define TEMPLATE_SYN 0
#define TEMPLATE_DATA 1
#define TEMPLATE_FIN 2

/* An inclusive run of values in host order: flow after flow takes the next. */
struct value_range {
	__u32 first;
	__u32 count;
};

struct generator_settings {
	/* The loader's matter. */
	__u32 out_device;
	__u32 mode;
	/* 14, or 18 behind a VLAN tag. */
	__u32 l3_offset;
	__u32 has_timestamps;
	/* Of UDP; TCP always has one. */
	__u32 has_checksum;
	__u32 flow_count;
	/* The source port runs fastest, the destination address slowest. */
	struct value_range source_ports;
	struct value_range destination_ports;
	struct value_range sources;
	struct value_range destinations;
	/* Frames of a connection, SYN and FIN among them. */
	__u32 steps;
	/* Bytes of TCP data in a frame of MODE_CONNECTION. */
	__u32 payload_bytes;
	__u32 template_count;
	__u32 schedule_length;
	/* The length of every frame as it comes to the program. */
	__u32 frame_bytes_max;
	/* Of BPF_PROG_RUN: frames that are sent together. */
	__u32 batch;
	/* Whether the templates have intervals. */
	__u32 is_paced;
	__u32 padding;
	/* 0: no limit. */
	__u64 frame_count;
	/* Nanoseconds; 0: no limit. */
	__u64 duration;
};

struct frame_template {
	/* 2^16 times the nanoseconds from such a frame to the next; 0 for as fast as possible. */
	__u64 interval_fixed_point;
	__u32 frame_bytes;
	/* Sums of 16-bit words (RFC 1071) without what differs from frame to frame. */
	__u32 ipv4_sum;
	__u32 l4_sum;
	__u32 padding;
	/* With the addresses of the first flow. */
	__u64 header[HEADER_WORDS];
};

struct frame_templates {
	struct frame_template templates[TEMPLATES_MAX];
	/* Templates in the order of sending; of MODE_UDP. */
	__u8 schedule[SCHEDULE_MAX];
};

struct generator_plan {
	__u32 version;
	__u32 bytes;
	struct generator_settings settings;
	struct frame_templates templates;
};

struct generator_state {
	__u64 frames_sent;
	/* Counted where frames have several sizes. */
	__u64 bytes_sent;
	/* CLOCK_MONOTONIC of the first frame and of the last one that was paced or stamped. */
	__u64 first_nanoseconds;
	__u64 last_nanoseconds;
	/* Since the first frame. */
	__u64 due_fixed_point;
	/* How often so far behind that the debt was forgotten. */
	__u64 times_behind;
	__u32 flow;
	__u32 source_port;
	__u32 destination_port;
	__u32 source;
	__u32 destination;
	__u32 step;
	/* The frame number at which the present round of connections began. */
	__u32 round_begin;
	__u32 position;
};

/* "ring": a frame of ours. The kernel's own pktgen has another number and time format there. */
#define TAG_MAGIC 0x72696e67
#define PKTGEN_MAGIC 0xbe9be955
/* "rg": the TCP window of our segments, by which a SYN without data is known. */
#define TAG_WINDOW 0x7267

/* The first bytes of the UDP or TCP payload, big-endian. */
struct frame_tag {
	union {
		struct {
			__be32 magic;
			__be32 sequence;
		};
		__be64 magic_and_sequence;
	};
	/* CLOCK_MONOTONIC of sending in nanoseconds; pktgen: seconds and microseconds of the day. */
	union {
		struct {
			__be32 time_high;
			__be32 time_low;
		};
		__be64 time;
	};
} __attribute__((packed));

/* Log-linear: 32 steps for each power of two, up to 2^36 ns. src/pktgen/latency-histogram.ts */
#define HISTOGRAM_STEP_BITS 5
#define HISTOGRAM_BUCKETS 1024
#define LATENCY_MAX ((1ULL << 36) - 1)

/* A number seen again within so many frames is a duplicate. */
#define DUPLICATE_WINDOW (1 << 18)

/* What one CPU has seen. */
struct sink_counters {
	__u64 frames;
	__u64 bytes;
	/* Not of a generator: left to the kernel. */
	__u64 others;
	__u64 duplicates;
	__u64 reordered;
	/* Largest distance, in frames of the flow, to one that had come before. */
	__u64 reorder_extent;
	__u64 highest_sequence;
	__u64 latency_sum;
	__u64 latency_min;
	__u64 latency_max;
	__u64 histogram[HISTOGRAM_BUCKETS];
};

struct sink_settings {
	/* Frame n belongs to flow n mod this; only frames of one flow can be out of order. */
	__u32 flow_count;
	/* 1: what does not come from a generator is dropped, too. */
	__u8 drops_others;
	/* Numbers are looked at: duplicates, order. */
	__u8 checks_order;
	/* Stamps are looked at. */
	__u8 checks_latency;
	__u8 padding;
	/* CLOCK_REALTIME less CLOCK_MONOTONIC, for the stamps of the kernel's pktgen. */
	__u64 real_time_offset;
};
