/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick of the chain: what our pipeline does with a pod's packet, in C. Parse, connection
 * tracking, ipcache, policy, the service's translation with incremental checksums, and either VXLAN
 * to another node or delivery to a pod of this one. It makes the same frames as the pipeline, byte
 * for byte (test/unit/bench-yardstick.test.ts).
 *
 * What it leaves out: everything but TCP and UDP in whole IPv4 packets from pods. The rest it drops;
 * so it never has to look at a frame twice. One thread.
 */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CHAIN_BURST_MAX 128
/* As src/packet/burst.ts: the frame goes back to the pool. */
#define CHAIN_NO_PORT (-1)

struct chain;

struct chain_counters {
	uint64_t forwarded;
	uint64_t bytes;
	uint64_t dropped;
	uint64_t created;
	uint64_t evicted;
	/* Entries of the connection table that are in use, and that there are. */
	uint64_t connections;
	uint64_t slots;
};

/*
 * Reads a node's configuration, one item per line (chain-config.c says which). NULL when it is wrong
 * or there is no memory; then `error` says why.
 */
struct chain *chain_open(const char *path, char *error, uint32_t error_bytes);

/*
 * Decides on every frame of a burst, as src/packet/burst.ts has them: `starts` are bytes in `memory`
 * where frames begin, `ports` those they came in by; at the end all three columns say what leaves,
 * and by which port. At most CHAIN_BURST_MAX frames, each with 50 bytes free in front of it.
 */
void chain_run(struct chain *chain, uint8_t *memory, int32_t *starts, int32_t *lengths,
	       int32_t *ports, uint32_t count, uint32_t now_seconds);

struct chain_counters chain_counters(const struct chain *chain);

void chain_close(struct chain *chain);

#ifdef __cplusplus
}
#endif
