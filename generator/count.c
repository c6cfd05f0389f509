// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counts and drops a generator's frames on a device (count.bpf.c), at the hook "tc" or "xdp". Run it in
 * the namespace of the device; `flows` is the sender's number of them. "all" drops other frames, too;
 * "no-order" leaves numbers alone, "plain" times, too: frames and bytes only, at half the cost.
 *
 * Prints "ready", then for each line on standard input one line of JSON: what was seen since the
 * beginning or the last line "reset", whose answer is that of a new beginning. Ends with its input, and
 * with an error in place of an answer when the device is gone: what did not arrive was not lost on its way.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "object.h"
#include "plan.h"

#define FLOWS_MAX (1u << 24)

struct sink {
	struct bpf_object *object;
	int counters;
	__u32 *next_expected;
	size_t next_bytes;
	__u32 *seen;
	struct sink_counters *each;
	int cpus;
};

static __u64 nanoseconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (__u64)now.tv_sec * 1000000000ULL + (__u64)now.tv_nsec;
}

static void add(struct sink_counters *sum, const struct sink_counters *each)
{
	sum->frames += each->frames;
	sum->bytes += each->bytes;
	sum->others += each->others;
	sum->duplicates += each->duplicates;
	sum->reordered += each->reordered;
	sum->latency_sum += each->latency_sum;
	if (each->reorder_extent > sum->reorder_extent)
		sum->reorder_extent = each->reorder_extent;
	if (each->highest_sequence > sum->highest_sequence)
		sum->highest_sequence = each->highest_sequence;
	if (each->latency_max > sum->latency_max)
		sum->latency_max = each->latency_max;
	if (each->latency_min && (sum->latency_min == 0 || each->latency_min < sum->latency_min))
		sum->latency_min = each->latency_min;
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		sum->histogram[i] += each->histogram[i];
}

static void print_histogram(const struct sink_counters *sum)
{
	const char *comma = "";

	printf(",\"histogram\":[");
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (sum->histogram[i] == 0)
			continue;
		printf("%s[%d,%llu]", comma, i, sum->histogram[i]);
		comma = ",";
	}
	printf("]");
}

static int print_counters(const struct sink *sink)
{
	static struct sink_counters sum;
	const __u64 now = nanoseconds(CLOCK_MONOTONIC);
	const __u32 zero = 0;

	memset(&sum, 0, sizeof(sum));
	if (bpf_map_lookup_elem(sink->counters, &zero, sink->each))
		return 0;
	for (int cpu = 0; cpu < sink->cpus; cpu++)
		add(&sum, &sink->each[cpu]);
	printf("{\"nanoseconds\":%llu,\"frames\":%llu,\"bytes\":%llu,\"others\":%llu,"
	       "\"dropped\":0,\"duplicates\":%llu,\"reordered\":%llu,\"reorderExtent\":%llu,\"highest\":%llu,"
	       "\"latencySum\":%llu,"
	       "\"latencyMin\":%llu,\"latencyMax\":%llu",
	       now, sum.frames, sum.bytes, sum.others, sum.duplicates, sum.reordered,
	       sum.reorder_extent, sum.highest_sequence, sum.latency_sum,
	       sum.latency_min ? sum.latency_min - 1 : 0, sum.latency_max);
	print_histogram(&sum);
	printf("}\n");
	fflush(stdout);
	return 1;
}

static int reset(const struct sink *sink)
{
	const __u32 zero = 0;

	memset(sink->each, 0, (size_t)sink->cpus * sizeof(*sink->each));
	memset(sink->next_expected, 0, sink->next_bytes);
	memset(sink->seen, 0, DUPLICATE_WINDOW * sizeof(*sink->seen));
	return bpf_map_update_elem(sink->counters, &zero, sink->each, BPF_ANY) == 0;
}

static int load(struct sink *sink, struct sink_settings settings)
{
	const __u32 flows = settings.flow_count;
	struct bpf_map *next;

	settings.real_time_offset = nanoseconds(CLOCK_REALTIME) - nanoseconds(CLOCK_MONOTONIC);
	sink->object = open_object("count.bpf.o");
	if (!sink->object || !set_globals(sink->object, ".rodata", &settings, sizeof(settings)))
		return 0;
	next = bpf_object__find_map_by_name(sink->object, "next_expected");
	if (!next || bpf_map__set_max_entries(next, flows) || bpf_object__load(sink->object))
		return 0;
	sink->cpus = libbpf_num_possible_cpus();
	sink->each = calloc((size_t)(sink->cpus > 0 ? sink->cpus : 1), sizeof(*sink->each));
	sink->counters = bpf_object__find_map_fd_by_name(sink->object, "counters");
	sink->seen = map_globals(sink->object, ".bss", DUPLICATE_WINDOW * sizeof(*sink->seen));
	sink->next_bytes = (size_t)flows * 8;
	sink->next_expected = mmap(NULL, sink->next_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
				   bpf_map__fd(next), 0);
	return sink->cpus > 0 && sink->each && sink->seen && sink->next_expected != MAP_FAILED;
}

/* A link of XDP leaves with this process; a tc filter and its hook with `detach`, or the namespace. */
static int attach(const struct bpf_object *object, int device, const char *hook)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = device, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = program_fd(object, "count_tc"), .handle = 1,
		    .priority = 1);

	if (strcmp(hook, "xdp") == 0)
		return bpf_program__attach_xdp(find_program(object, "count_xdp"), device) != NULL;
	return strcmp(hook, "tc") == 0 && bpf_tc_hook_create(&tc) == 0 && bpf_tc_attach(&tc, &filter) == 0;
}

static void detach(int device, const char *hook)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = device,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	if (strcmp(hook, "tc") == 0)
		bpf_tc_hook_destroy(&tc);
}

static int is_there(int device, const char *name)
{
	char now[IF_NAMESIZE];

	if (if_indextoname((unsigned int)device, now))
		return 1;
	fprintf(stderr, "sink: %s, expected a device that stays: it went away\n", name);
	return 0;
}

/* libbpf leaves what went wrong in errno. */
static int open_sink(struct sink *sink, struct sink_settings settings, int device, char **argv)
{
	const char *failed = NULL;

	errno = 0;
	if (!device)
		failed = "find";
	else if (!load(sink, settings))
		failed = "load the program for";
	else if (!attach(sink->object, device, argv[2]))
		failed = "attach to";
	if (failed)
		fprintf(stderr, "cannot %s %s at %s: %s\n", failed, argv[1], argv[2],
			errno ? strerror(errno) : "no reason given");
	return !failed;
}

static int has_word(int argc, char **argv, const char *word)
{
	for (int i = 4; i < argc; i++)
		if (strcmp(argv[i], word) == 0)
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	struct sink_settings settings = { 0 };
	struct sink sink = { 0 };
	unsigned long flows;
	char line[64];
	int device, is_well = 1;

	flows = argc >= 4 ? strtoul(argv[3], NULL, 10) : 0;
	if (flows < 1 || flows > FLOWS_MAX) {
		fprintf(stderr, "usage: %s device tc|xdp flows [all] [no-order|plain]\n", argv[0]);
		return 2;
	}
	settings.flow_count = (__u32)flows;
	settings.drops_others = has_word(argc, argv, "all");
	settings.checks_latency = !has_word(argc, argv, "plain");
	settings.checks_order = settings.checks_latency && !has_word(argc, argv, "no-order");
	device = (int)if_nametoindex(argv[1]);
	if (!open_sink(&sink, settings, device, argv))
		return 1;
	puts("ready");
	fflush(stdout);
	while (is_well && fgets(line, sizeof(line), stdin)) {
		is_well = is_there(device, argv[1]) && (strcmp(line, "reset\n") || reset(&sink)) &&
			  print_counters(&sink);
	}
	detach(device, argv[2]);
	return is_well ? 0 : 1;
}
