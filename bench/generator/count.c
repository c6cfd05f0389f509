// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counts and drops the generator's frames on a device (count.bpf.c), at the hook "tc" or "xdp".
 * Prints "ready", then for each line on standard input one line of JSON: which reading it is,
 * nanoseconds (CLOCK_MONOTONIC), frames, bytes; after a line "latencies" also the histogram so far,
 * as pairs of a bucket (frame.h) and its frames. Ends with its input.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frame.h"
#include "object.h"

static void print_latencies(int map, int cpus)
{
	__u64 *each = calloc((size_t)cpus, sizeof(*each));
	const char *separator = "";

	printf(",\"latencies\":[");
	for (__u32 bucket = 0; each && bucket < LATENCY_BUCKETS; bucket++) {
		__u64 sum = 0;

		if (bpf_map_lookup_elem(map, &bucket, each))
			continue;
		for (int cpu = 0; cpu < cpus; cpu++)
			sum += each[cpu];
		if (sum == 0)
			continue;
		printf("%s[%u,%llu]", separator, bucket, sum);
		separator = ",";
	}
	printf("]");
	free(each);
}

static int print_reading(int number, int map, int latencies)
{
	const int cpus = libbpf_num_possible_cpus();
	struct frame_counters sum = { 0, 0 }, *each = calloc((size_t)(cpus > 0 ? cpus : 1), sizeof(*each));
	const __u32 zero = 0;
	struct timespec now;
	int is_read;

	is_read = each && cpus > 0 && bpf_map_lookup_elem(map, &zero, each) == 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	for (int cpu = 0; is_read && cpu < cpus; cpu++) {
		sum.frames += each[cpu].frames;
		sum.bytes += each[cpu].bytes;
	}
	free(each);
	printf("{\"reading\":%d,\"nanoseconds\":%lld,\"frames\":%llu,\"bytes\":%llu", number,
	       now.tv_sec * 1000000000LL + now.tv_nsec, sum.frames, sum.bytes);
	if (is_read && latencies >= 0)
		print_latencies(latencies, cpus);
	puts("}");
	fflush(stdout);
	return is_read;
}

/* A link of XDP and a tc filter both leave with the namespace; the link also with this process. */
static int attach(const struct bpf_object *object, int device, const char *hook)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = device, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = program_fd(object, "count_tc"));

	if (strcmp(hook, "xdp") == 0)
		return bpf_program__attach_xdp(find_program(object, "count_xdp"), device) != NULL;
	return strcmp(hook, "tc") == 0 && bpf_tc_hook_create(&tc) == 0 && bpf_tc_attach(&tc, &filter) == 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	char line[64];
	int device, counters, latencies;

	if (argc != 3) {
		fprintf(stderr, "usage: %s device tc|xdp\n", argv[0]);
		return 2;
	}
	device = (int)if_nametoindex(argv[1]);
	object = open_object("count.bpf.o");
	if (!object || bpf_object__load(object) || !attach(object, device, argv[2])) {
		fprintf(stderr, "cannot attach to %s at %s\n", argv[1], argv[2]);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	counters = bpf_object__find_map_fd_by_name(object, "counters");
	latencies = bpf_object__find_map_fd_by_name(object, "latencies");
	for (int number = 1; fgets(line, sizeof(line), stdin); number++)
		if (!print_reading(number, counters, line[0] == 'l' ? latencies : -1))
			return 1;
	return 0;
}
