/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick's connection table: entries of one cache line, linear probing, at most half full,
 * the one that was not seen for longest replaced. What each packet needs is here, to be inlined.
 */
#pragma once

#include "chain-frame.h"
#include "chain-state.h"

/* A walk ends at an empty slot, or here. */
#define PROBES_MAX 64
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define SYN_SECONDS 60
#define ANY_SECONDS 60
#define TCP_SECONDS 8000
#define CLOSE_SECONDS 10

static inline uint32_t connection_hash(const struct chain *chain, uint32_t source,
				       uint32_t destination, uint32_t ports, uint8_t protocol,
				       int32_t ingress)
{
	const uint64_t ends = ((uint64_t)source << 32 | destination) ^ chain->hash_seed;
	const uint64_t rest = (uint64_t)ports << 16 | (uint32_t)(protocol << 8) | (uint8_t)ingress;
	return mix64(ends * 0xff51afd7ed558ccdull ^ (ends >> 29) ^ rest);
}

static inline struct connection *connection_find(struct chain *chain, const uint8_t *frame,
						 uint32_t slot, uint32_t ports, int32_t ingress)
{
	const struct ip_header *ip = ip_of(frame);
	for (uint32_t probe = 0; probe < PROBES_MAX; probe++) {
		struct connection *entry = &chain->connections[(slot + probe) & chain->slot_mask];
		if (entry->protocol == 0)
			return NULL;
		if (entry->ports == ports && entry->source == ip->source &&
		    entry->destination == ip->destination && entry->protocol == ip->protocol &&
		    entry->ingress_port == ingress)
			return entry;
	}
	return NULL;
}

/* Counts a packet and moves the entry's end of life. */
static inline void connection_count(struct connection *connection, const uint8_t *frame,
				    int32_t length, uint32_t now)
{
	uint32_t lifetime = ANY_SECONDS;
	if (connection->protocol == PROTOCOL_TCP) {
		const uint8_t flags = frame[TCP_FLAGS_OFFSET];
		if ((flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			connection->tcp_flags = 0;
		connection->tcp_flags |= flags;
		const bool is_open = (connection->tcp_flags & TCP_ACK) != 0;
		lifetime = is_open ? TCP_SECONDS : SYN_SECONDS;
		if (connection->tcp_flags & (TCP_FIN | TCP_RST))
			lifetime = CLOSE_SECONDS;
	}
	connection->seen_seconds = now;
	connection->expires_seconds = now + lifetime;
	connection->packets++;
	connection->bytes += (uint32_t)length;
}

/*
 * What becomes of a flow's packets, its backend above all; false when its service has none. Nothing
 * is stored: the policy has not been asked yet.
 */
bool connection_plan(struct chain *chain, const uint8_t *frame, uint32_t ports, int32_t ingress,
		     struct connection *out);

/* Puts it into the table; a packet for a pod of this node loses a hop. */
struct connection *connection_store(struct chain *chain, uint32_t slot, struct connection *plan,
				    bool is_local, uint32_t now);
