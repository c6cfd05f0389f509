/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow's first packet: which backend does its service give it, and what does that change? Both
 * hashes are the engine's (src/lb/maglev.ts, src/conntrack/flow-hash.ts), which decide on the
 * backend and on the way through the underlay, and are computed for first packets only.
 */
#include "chain-connect.h"

#define TUPLE_ADDRESS_WORDS 4
/* An IPv4 address is ::ffff:a.b.c.d. */
#define MAPPED_WORD 0xffffu
#define EPHEMERAL_FIRST 0x8000u
#define EPHEMERAL_MASK 0x7fffu

static uint32_t finish(uint32_t h)
{
	h = (h ^ (h >> 16)) * 0x85ebca6bu;
	h = (h ^ (h >> 13)) * 0xc2b2ae35u;
	return h ^ (h >> 16);
}

static uint32_t stir(uint32_t h, uint32_t word)
{
	uint32_t k = word * 0xcc9e2d51u;
	k = (k << 15) | (k >> 17);
	const uint32_t mixed = h ^ (k * 0x1b873593u);
	return ((mixed << 13) | (mixed >> 19)) * 5 + 0xe6546b64u;
}

static uint32_t maglev_hash(uint32_t source, uint32_t destination, uint32_t ports,
			    uint8_t protocol, uint32_t seed)
{
	const uint32_t tuple[2 * TUPLE_ADDRESS_WORDS] = {
		0, 0, MAPPED_WORD, source, 0, 0, MAPPED_WORD, destination,
	};
	uint32_t h = seed ^ 0x1b873593u;
	for (uint32_t i = 0; i < 2 * TUPLE_ADDRESS_WORDS; i++)
		h = stir(h, tuple[i]);
	return finish(stir(stir(h, ports), protocol));
}

static uint32_t mix_end(uint32_t address, uint32_t port, uint32_t seed)
{
	const uint32_t mixed = MAPPED_WORD * 0xc2b2ae35u + (address ^ seed) * 0x27d4eb2fu;
	return finish(mixed + port * 0x165667b1u);
}

static uint32_t flow_hash(uint32_t source, uint32_t destination, uint32_t ports, uint8_t protocol,
			  uint32_t seed)
{
	const uint32_t ends = mix_end(source, ports >> 16, seed) +
			      mix_end(destination, ports & 0xffff, seed);
	return finish(ends + protocol * 0x165667b1u);
}

static const struct backend *backend_of(const struct chain *chain,
					const struct service_entry *service,
					const struct ip_header *ip, uint32_t host_ports)
{
	if (service->place_count == 0)
		return NULL;
	const uint32_t hash = maglev_hash(__builtin_bswap32(ip->source),
					  __builtin_bswap32(ip->destination), host_ports,
					  ip->protocol, chain->maglev_seed);
	const uint8_t place = chain->places[service->first_place + hash % service->place_count];
	return &chain->backends[service->first_backend + place];
}

bool connection_plan(struct chain *chain, const uint8_t *frame, uint32_t ports, int32_t ingress,
		     struct connection *out)
{
	const struct ip_header *ip = ip_of(frame);
	const uint16_t port = (uint16_t)(ports >> 16);
	*out = (struct connection){
		.source = ip->source,
		.destination = ip->destination,
		.ports = ports,
		.protocol = ip->protocol,
		.ingress_port = (uint8_t)ingress,
		.new_destination = ip->destination,
		.new_ports = ports,
	};
	const struct service_entry *service =
		chain_service(chain, ip->destination, port, ip->protocol);
	if (service->is_used) {
		const struct backend *backend =
			backend_of(chain, service, ip, __builtin_bswap32(ports));
		if (backend == NULL)
			return false;
		out->new_destination = backend->address;
		out->new_ports = (ports & 0xffff) | ((uint32_t)backend->port << 16);
		const uint32_t addresses = delta32(ip->destination, backend->address);
		out->l3_delta = fold(addresses);
		out->l4_delta = fold(addresses + delta16(port, backend->port));
	}
	const uint32_t hash = flow_hash(__builtin_bswap32(ip->source),
					__builtin_bswap32(out->new_destination),
					__builtin_bswap32(out->new_ports), ip->protocol,
					chain->flow_seed);
	const uint16_t outer = EPHEMERAL_FIRST | ((hash ^ (hash >> 16)) & EPHEMERAL_MASK);
	out->outer_source_port = __builtin_bswap16(outer);
	return true;
}

/* An empty slot while the table is not half full, else the place of whoever was silent longest. */
static struct connection *choose_slot(struct chain *chain, uint32_t slot)
{
	const bool may_grow = chain->used <= chain->slot_mask / 2;
	struct connection *oldest = NULL;
	for (uint32_t probe = 0; probe < PROBES_MAX; probe++) {
		struct connection *entry = &chain->connections[(slot + probe) & chain->slot_mask];
		if (entry->protocol == 0) {
			if (!may_grow && oldest != NULL)
				break;
			chain->used++;
			return entry;
		}
		if (oldest == NULL || entry->seen_seconds < oldest->seen_seconds)
			oldest = entry;
	}
	chain->counters.evicted++;
	return oldest;
}

struct connection *connection_store(struct chain *chain, uint32_t slot, struct connection *plan,
				    bool is_local, uint32_t now)
{
	struct connection *entry = choose_slot(chain, slot);
	/* The TTL is the upper byte of its word as it stands in the packet, the lower as it is loaded. */
	if (is_local) {
		plan->hops = 1;
		plan->l3_delta = fold(plan->l3_delta + delta16(1, 0));
	}
	plan->seen_seconds = now;
	*entry = *plan;
	chain->counters.created++;
	return entry;
}
