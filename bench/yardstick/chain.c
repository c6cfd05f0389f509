/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain, in the same three passes over a burst as the pipeline's: parse and hash, touch (here a
 * prefetch), run. A flow's first packet makes its entry (chain-connect.c); each packet asks the
 * ipcache and the policy anew.
 */
#include "chain.h"

#include <string.h>

#include "chain-connect.h"
#include "chain-frame.h"
#include "chain-state.h"

/* Frames whose headers are on their way into the cache while one is parsed. */
#define PREFETCH_AHEAD 8

struct parsed {
	uint32_t slot;
	uint32_t ports;
	bool is_whole;
};

static void parse(const struct chain *chain, const uint8_t *memory, const int32_t *starts,
		  const int32_t *lengths, const int32_t *ports, uint32_t count, struct parsed *out)
{
	for (uint32_t i = 0; i < PREFETCH_AHEAD && i < count; i++)
		__builtin_prefetch(memory + starts[i], 1);
	for (uint32_t i = 0; i < count; i++) {
		if (i + PREFETCH_AHEAD < count)
			__builtin_prefetch(memory + starts[i + PREFETCH_AHEAD], 1);
		const uint8_t *frame = memory + starts[i];
		out[i].is_whole = frame_is_whole(frame, lengths[i]);
		if (!out[i].is_whole)
			continue;
		const struct ip_header *ip = ip_of(frame);
		memcpy(&out[i].ports, frame + L4_OFFSET, sizeof out[i].ports);
		out[i].slot = connection_hash(chain, ip->source, ip->destination, out[i].ports,
					      ip->protocol, ports[i]) &
			      chain->slot_mask;
	}
}

static void touch(const struct chain *chain, const struct parsed *parsed, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (parsed[i].is_whole)
			__builtin_prefetch(&chain->connections[parsed[i].slot], 1);
}

static const struct way *way_to(const struct chain *chain, uint32_t address)
{
	const uint32_t bits = __builtin_bswap32(address);
	uint32_t found = chain->first_level[bits >> 16];
	if (found & TABLE_FLAG)
		found = chain->tables[found & ~TABLE_FLAG][(bits >> 8) & 0xff];
	if (found & TABLE_FLAG)
		found = chain->tables[found & ~TABLE_FLAG][bits & 0xff];
	return &chain->ways[found];
}

/* The exact entry, then the identity's for any port, then any identity's. */
static bool policy_allows(struct chain *chain, uint32_t identity, uint16_t port, uint8_t protocol)
{
	const struct policy_entry *entry = chain_policy(chain, policy_key(identity, port, protocol));
	if (entry->key == 0)
		entry = chain_policy(chain, policy_key(identity, 0, 0));
	if (entry->key == 0)
		entry = chain_policy(chain, policy_key(0, port, protocol));
	return entry->key != 0 && entry->is_allowed;
}

/*
 * 50 bytes in front of the frame: Ethernet, IPv4, UDP, VXLAN. Congestion marks go along (RFC 6040);
 * the UDP checksum is zero (RFC 7348 section 5).
 */
static void encapsulate(const struct chain *chain, uint8_t *frame, int32_t length,
			const struct way *way, uint32_t identity, uint16_t source_port)
{
	const uint8_t congestion = ip_of(frame)->type_of_service & 3;
	uint8_t *outer = frame - ENVELOPE_BYTES;
	memcpy(outer, chain->envelope.bytes, ENVELOPE_BYTES);
	struct ip_header *ip = ip_of(outer);
	struct udp_header *udp = udp_of(outer);
	const uint16_t bytes = (uint16_t)(length + ENVELOPE_BYTES - ETHERNET_BYTES);
	ip->type_of_service = congestion;
	ip->total_length = __builtin_bswap16(bytes);
	ip->destination = way->tunnel_endpoint;
	ip->checksum = ~fold(chain->envelope_sum + ip->total_length + (congestion << 8) +
			     (way->tunnel_endpoint >> 16) + (way->tunnel_endpoint & 0xffff));
	udp->source_port = source_port;
	udp->length = __builtin_bswap16(bytes - IP_BYTES);
	const uint32_t network_identifier = __builtin_bswap32(identity << 8);
	memcpy(outer + ENVELOPE_BYTES - 4, &network_identifier, sizeof network_identifier);
}

/* Addresses, ports, TTL and checksums, as the flow's entry says. */
static void translate(uint8_t *frame, const struct connection *connection)
{
	struct ip_header *ip = ip_of(frame);
	ip->ttl -= connection->hops;
	if (connection->l3_delta != 0)
		ip->checksum = checksum_apply(ip->checksum, connection->l3_delta);
	if (connection->l4_delta == 0)
		return;
	ip->destination = connection->new_destination;
	memcpy(frame + L4_OFFSET, &connection->new_ports, sizeof connection->new_ports);
	uint16_t *field = checksum_field(frame);
	if (ip->protocol == PROTOCOL_TCP) {
		*field = checksum_apply(*field, connection->l4_delta);
	} else if (*field != 0) {
		/* RFC 768: a computed zero is sent as all ones. */
		const uint16_t checksum = checksum_apply(*field, connection->l4_delta);
		*field = checksum == 0 ? 0xffff : checksum;
	}
}

static bool fits(const struct chain *chain, const uint8_t *frame)
{
	const uint16_t bytes = __builtin_bswap16(ip_of(frame)->total_length);
	return bytes + ENVELOPE_BYTES <= (int32_t)chain->mtu_bytes;
}

/* The port that the frame leaves by, or CHAIN_NO_PORT. */
static int32_t run_frame(struct chain *chain, uint8_t *frame, int32_t *length, int32_t *start,
			 int32_t ingress, const struct parsed *parsed, uint32_t now)
{
	struct ip_header *ip = ip_of(frame);
	const struct pod *pod = &chain->pods[ingress & (PORTS_MAX - 1)];
	if (!pod->is_pod || ip->source != pod->address)
		return CHAIN_NO_PORT;
	if (is_checksum_partial(frame))
		complete_checksum(frame);
	struct connection *connection =
		connection_find(chain, frame, parsed->slot, parsed->ports, ingress);
	const bool is_new = connection == NULL;
	struct connection made;
	if (is_new && !connection_plan(chain, frame, parsed->ports, ingress, &made))
		return CHAIN_NO_PORT;
	const struct connection *plan = is_new ? &made : connection;
	const struct way *way = way_to(chain, plan->new_destination);
	const uint16_t port = __builtin_bswap16((uint16_t)(plan->new_ports >> 16));
	if (!policy_allows(chain, way->identity, port, ip->protocol))
		return CHAIN_NO_PORT;
	const bool is_local = way->tunnel_endpoint == 0;
	if (is_local ? way->port < 0 || ip->ttl <= 1 : !fits(chain, frame))
		return CHAIN_NO_PORT;
	if (is_new)
		connection = connection_store(chain, parsed->slot, &made, is_local, now);
	connection_count(connection, frame, *length, now);
	translate(frame, connection);
	if (is_local) {
		memcpy(frame, way->macs, sizeof way->macs);
		return way->port;
	}
	encapsulate(chain, frame, *length, way, pod->identity, connection->outer_source_port);
	*start -= ENVELOPE_BYTES;
	*length += ENVELOPE_BYTES;
	return chain->uplink_port;
}

void chain_run(struct chain *chain, uint8_t *memory, int32_t *starts, int32_t *lengths,
	       int32_t *ports, uint32_t count, uint32_t now_seconds)
{
	struct parsed parsed[CHAIN_BURST_MAX];
	uint64_t forwarded = 0;
	uint64_t bytes = 0;
	if (count > CHAIN_BURST_MAX)
		count = CHAIN_BURST_MAX;
	parse(chain, memory, starts, lengths, ports, count, parsed);
	touch(chain, parsed, count);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *frame = memory + starts[i];
		int32_t port = CHAIN_NO_PORT;
		if (parsed[i].is_whole)
			port = run_frame(chain, frame, &lengths[i], &starts[i], ports[i],
					 &parsed[i], now_seconds);
		ports[i] = port;
		forwarded += port != CHAIN_NO_PORT;
		bytes += port != CHAIN_NO_PORT ? (uint32_t)lengths[i] : 0;
	}
	chain->counters.forwarded += forwarded;
	chain->counters.bytes += bytes;
	chain->counters.dropped += count - forwarded;
}

struct chain_counters chain_counters(const struct chain *chain)
{
	struct chain_counters counters = chain->counters;
	counters.connections = chain->used;
	counters.slots = (uint64_t)chain->slot_mask + 1;
	return counters;
}
