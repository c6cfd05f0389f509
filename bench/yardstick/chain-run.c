/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick's chain from memory, as bench/chain/chain-rig.ts runs ours: frames stand ready, each
 * burst is made to look as if it had just come in, and what that costs alone is told too. Usage:
 *
 *   chain CONFIG PORT HEX FLOWS     a flow's first frame, and the port that all come in by
 *
 * and on standard input, answered by one line each:
 *
 *   run FRAMES [S]     nanoseconds of that many frames, or of as many more as fit into S seconds, and
 *                      without the chain: {"frames":...,"ns":...,"empty":...}
 *   frame PORT HEX     the port that it leaves by, or -1, and the frame as it does
 *   counters           as JSON
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "chain-frame.h"
#include "chain.h"
#include "flows.h"

/* As bench/chain/chain-rig.ts. */
#define FRAMES 256
#define STRIDE_BYTES 2112
#define HEADROOM_BYTES 256
#define BURST 64
#define FLOW_STEP 7919
#define LINE_BYTES 8192
#define NANOSECONDS 1000000000ull
/* Frames between two looks at the clock, a fraction of a millisecond. */
#define FRAMES_PER_TICK (8 * BURST)

struct rig {
	struct chain *chain;
	uint8_t *memory;
	int32_t starts[CHAIN_BURST_MAX];
	int32_t lengths[CHAIN_BURST_MAX];
	int32_t ports[CHAIN_BURST_MAX];
	/* The first flow's frame. */
	uint8_t pattern[STRIDE_BYTES];
	int32_t length;
	int32_t port;
	/* Of its transport, without ports. */
	uint32_t sum;
	uint32_t flows;
	uint32_t step;
	uint32_t flow;
	uint32_t frame;
};

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * NANOSECONDS + (uint64_t)time.tv_nsec;
}

static int32_t read_hex(const char *text, uint8_t *bytes)
{
	int32_t count = 0;
	while (count < STRIDE_BYTES - HEADROOM_BYTES && sscanf(text, "%2hhx", &bytes[count]) == 1) {
		text += 2;
		count++;
	}
	return count;
}

/* Addresses, ports, TTL and checksums of one frame as its flow's sender wrote them. */
static void write_flow(struct rig *rig, uint8_t *frame)
{
	uint16_t ports[2] = {
		__builtin_bswap16((uint16_t)(SOURCE_PORT_FIRST + (rig->flow & (SOURCE_PORTS - 1)))),
		__builtin_bswap16((uint16_t)(DESTINATION_PORT_FIRST + rig->flow / SOURCE_PORTS)),
	};
	memcpy(frame + ETHERNET_BYTES + 8, rig->pattern + ETHERNET_BYTES + 8, IP_BYTES - 8);
	memcpy(frame + L4_OFFSET, ports, sizeof ports);
	*checksum_field(frame) = (uint16_t)~fold(rig->sum + ports[0] + ports[1]);
	const uint32_t flow = rig->flow + rig->step;
	rig->flow = flow < rig->flows ? flow : flow - rig->flows;
}

static void receive(struct rig *rig)
{
	for (int i = 0; i < BURST; i++) {
		rig->starts[i] = (int32_t)(rig->frame * STRIDE_BYTES + HEADROOM_BYTES);
		rig->lengths[i] = rig->length;
		rig->ports[i] = rig->port;
		rig->frame = (rig->frame + 1) & (FRAMES - 1);
		write_flow(rig, rig->memory + rig->starts[i]);
	}
}

static void run(struct rig *rig, uint64_t frames, double seconds)
{
	const uint64_t begin = now();
	const uint64_t end = begin + (uint64_t)(seconds * NANOSECONDS);
	uint64_t time = begin;
	uint64_t done = 0;
	for (; done < frames || time < end; done += BURST) {
		if (done % FRAMES_PER_TICK == 0)
			time = now();
		receive(rig);
		chain_run(rig->chain, rig->memory, rig->starts, rig->lengths, rig->ports, BURST,
			  (uint32_t)(time / NANOSECONDS));
		for (int i = 0; i < BURST; i++) {
			if (rig->ports[i] == rig->port || rig->ports[i] == CHAIN_NO_PORT) {
				fprintf(stderr, "a frame left by port %d\n", rig->ports[i]);
				exit(1);
			}
		}
	}
	const uint64_t middle = now();
	for (uint64_t empty = 0; empty < done; empty += BURST) {
		if (empty % FRAMES_PER_TICK == 0)
			time = now();
		receive(rig);
		/* Or the compiler sees that nobody reads them. */
		__asm__ volatile("" : : "r"(rig->memory) : "memory");
	}
	printf("{\"frames\":%llu,\"ns\":%llu,\"empty\":%llu}\n", (unsigned long long)done,
	       (unsigned long long)(middle - begin), (unsigned long long)(now() - middle));
}

static void run_frame(struct rig *rig, const char *line)
{
	int taken;
	uint8_t *frame = rig->memory + HEADROOM_BYTES;
	rig->starts[0] = HEADROOM_BYTES;
	if (sscanf(line, "%d %n", &rig->ports[0], &taken) != 1)
		return;
	rig->lengths[0] = read_hex(line + taken, frame);
	chain_run(rig->chain, rig->memory, rig->starts, rig->lengths, rig->ports, 1,
		  (uint32_t)(now() / NANOSECONDS));
	printf("%d ", rig->ports[0]);
	for (int32_t i = 0; i < rig->lengths[0]; i++)
		printf("%02x", rig->memory[rig->starts[0] + i]);
	putchar('\n');
	memcpy(frame, rig->pattern, (size_t)rig->length);
}

static void print_counters(const struct rig *rig)
{
	const struct chain_counters c = chain_counters(rig->chain);
	printf("{\"forwarded\":%llu,\"bytes\":%llu,\"dropped\":%llu,\"created\":%llu,"
	       "\"evicted\":%llu,\"connections\":%llu,\"slots\":%llu}\n",
	       (unsigned long long)c.forwarded, (unsigned long long)c.bytes,
	       (unsigned long long)c.dropped, (unsigned long long)c.created,
	       (unsigned long long)c.evicted, (unsigned long long)c.connections,
	       (unsigned long long)c.slots);
}

static bool prepare(struct rig *rig, char **arguments)
{
	char error[LINE_BYTES];
	rig->chain = chain_open(arguments[1], error, sizeof error);
	if (rig->chain == NULL) {
		fprintf(stderr, "%s\n", error);
		return false;
	}
	rig->port = atoi(arguments[2]);
	rig->length = read_hex(arguments[3], rig->pattern);
	rig->flows = (uint32_t)strtoul(arguments[4], NULL, 10);
	rig->memory = aligned_alloc(4096, FRAMES * STRIDE_BYTES);
	if (rig->flows == 0 || rig->memory == NULL || !frame_is_whole(rig->pattern, rig->length))
		return false;
	rig->step = FLOW_STEP % rig->flows;
	const uint8_t *transport = rig->pattern + L4_OFFSET;
	*checksum_field(rig->pattern) = 0;
	rig->sum = pseudo_header_sum(ip_of(rig->pattern));
	for (int32_t i = 4; i + 1 < rig->length - L4_OFFSET; i += 2)
		rig->sum += *(const word16 *)(transport + i);
	for (int i = 0; i < FRAMES; i++)
		memcpy(rig->memory + i * STRIDE_BYTES + HEADROOM_BYTES, rig->pattern,
		       (size_t)rig->length);
	return true;
}

int main(int argc, char **argv)
{
	static struct rig rig;
	char line[LINE_BYTES];
	unsigned long long frames;
	double seconds = 0;
	if (argc != 5 || !prepare(&rig, argv)) {
		fprintf(stderr, "usage: %s config port frame flows\n", argv[0]);
		return 2;
	}
	puts("ready");
	fflush(stdout);
	for (; fgets(line, sizeof line, stdin) != NULL; seconds = 0) {
		if (sscanf(line, "run %llu %lf", &frames, &seconds) > 0)
			run(&rig, frames, seconds);
		else if (strncmp(line, "frame ", 6) == 0)
			run_frame(&rig, line + 6);
		else
			print_counters(&rig);
		fflush(stdout);
	}
	chain_close(rig.chain);
	return 0;
}
