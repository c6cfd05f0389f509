/* SPDX-License-Identifier: Apache-2.0 */
/* What chain.c reads and chain-config.c fills. Addresses and ports are in network byte order. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "chain.h"

#define MAC_BYTES 6
#define PORTS_MAX 16
#define WAYS_MAX 4096
#define POLICY_SLOTS 4096
#define SERVICE_SLOTS 4096
#define PLACES_MAX 131072
#define BACKENDS_MAX 1024
#define ENVELOPE_BYTES 50

/* One cache line: all that is known of a flow. */
struct connection {
	uint32_t source;
	uint32_t destination;
	/* Source port, then destination port. */
	uint32_t ports;
	/* 0 for an empty slot. */
	uint8_t protocol;
	uint8_t tcp_flags;
	uint8_t hops;
	uint8_t ingress_port;
	uint32_t expires_seconds;
	uint32_t seen_seconds;
	uint32_t new_destination;
	uint32_t new_ports;
	/* What the translation adds to the checksums (RFC 1624), the TTL's change included. */
	uint16_t l3_delta;
	uint16_t l4_delta;
	uint16_t outer_source_port;
	uint16_t padding;
	uint64_t packets;
	uint64_t bytes;
	uint64_t unused;
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct connection) == 64, "an entry is one cache line");

/* Where an address is. Number 0: nobody knows. */
struct way {
	uint32_t identity;
	/* The node behind which it is; 0: it is a pod of this node. */
	uint32_t tunnel_endpoint;
	int32_t port;
	uint8_t macs[2 * MAC_BYTES];
};

struct policy_entry {
	/* Identity, port, protocol and 1; 0 for an empty slot. */
	uint64_t key;
	uint64_t is_allowed;
};

struct service_entry {
	uint32_t address;
	uint16_t port;
	uint8_t protocol;
	uint8_t is_used;
	/* Its backends, and the places of its Maglev table, which count from its first backend. */
	uint32_t first_backend;
	uint32_t first_place;
	uint32_t place_count;
};

struct backend {
	uint32_t address;
	uint16_t port;
};

struct pod {
	uint32_t address;
	uint32_t identity;
	bool is_pod;
};

struct envelope {
	uint8_t bytes[ENVELOPE_BYTES];
};

struct chain {
	struct connection *connections;
	uint64_t connection_bytes;
	uint32_t slot_mask;
	uint32_t used;
	uint64_t hash_seed;

	/* DIR-16-8-8: a way's number, or with the highest bit set a table of 256 of the next byte. */
	uint32_t *first_level;
	uint32_t (*tables)[256];
	uint32_t table_count;
	struct way ways[WAYS_MAX];
	uint32_t way_count;

	struct policy_entry policies[POLICY_SLOTS];
	struct pod pods[PORTS_MAX];

	struct service_entry services[SERVICE_SLOTS];
	/* While the configuration is read. */
	struct service_entry *last_service;
	uint8_t places[PLACES_MAX];
	uint32_t place_count;
	struct backend backends[BACKENDS_MAX];
	uint32_t backend_count;
	/* The engine's, so that a flow gets the same backend and the same way through the underlay. */
	uint32_t flow_seed;
	uint32_t maglev_seed;

	/* The node's way to its peers. */
	struct envelope envelope;
	uint32_t envelope_sum;
	int32_t uplink_port;
	uint32_t mtu_bytes;
	uint32_t node_address;

	struct chain_counters counters;
};

#define TABLE_FLAG 0x80000000u

struct policy_entry *chain_policy(struct chain *chain, uint64_t key);
struct service_entry *chain_service(struct chain *chain, uint32_t address, uint16_t port,
				    uint8_t protocol);

static inline uint64_t policy_key(uint32_t identity, uint16_t port, uint8_t protocol)
{
	return ((uint64_t)identity << 32) | ((uint64_t)port << 16) | ((uint64_t)protocol << 8) | 1;
}

static inline uint32_t mix64(uint64_t value)
{
	value *= 0x9e3779b97f4a7c15ull;
	return (uint32_t)(value >> 32);
}
