/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a chain from a text file, one item per line, as bench/lib/node-scenario.ts writes it:
 *
 *   connections SLOTS                       a power of two, twice the flows at least
 *   seeds FLOW MAGLEV                       of the engine's hashes
 *   tunnel ADDRESS PORT DESTINATION-MAC SOURCE-MAC UPLINK-PORT MTU
 *   pod PORT ADDRESS IDENTITY               whose frames come in by that port
 *   remote ADDRESS/LENGTH IDENTITY ENDPOINT addresses behind another node
 *   local ADDRESS IDENTITY PORT DESTINATION-MAC SOURCE-MAC
 *   policy IDENTITY PORT PROTOCOL allow|deny    of identity 0: any; port and protocol 0: any
 *   service ADDRESS PORT PROTOCOL
 *   backend ADDRESS PORT                    of the service above: number 0, and so on
 *   places N...                             of its Maglev table, by backend
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "chain-frame.h"
#include "chain-state.h"

#define LINE_BYTES 4096
#define FIRST_LEVEL 65536
#define TABLES_MAX 4096
#define HUGE_PAGE_BYTES (2u << 20)
#define VXLAN_FLAGS 0x08
#define TTL 64

static bool read_address(const char *text, uint32_t *address)
{
	return inet_pton(AF_INET, text, address) == 1;
}

static bool read_mac(const char *text, uint8_t *mac)
{
	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		      &mac[4], &mac[5]) == MAC_BYTES;
}

struct policy_entry *chain_policy(struct chain *chain, uint64_t key)
{
	uint32_t slot = mix64(key) & (POLICY_SLOTS - 1);
	while (chain->policies[slot].key != 0 && chain->policies[slot].key != key)
		slot = (slot + 1) & (POLICY_SLOTS - 1);
	return &chain->policies[slot];
}

struct service_entry *chain_service(struct chain *chain, uint32_t address, uint16_t port,
				    uint8_t protocol)
{
	const uint64_t key = (uint64_t)address << 24 | (uint64_t)port << 8 | protocol;
	uint32_t slot = mix64(key) & (SERVICE_SLOTS - 1);
	for (;;) {
		struct service_entry *entry = &chain->services[slot];
		if (!entry->is_used || (entry->address == address && entry->port == port &&
					entry->protocol == protocol))
			return entry;
		slot = (slot + 1) & (SERVICE_SLOTS - 1);
	}
}

static bool set_connections(struct chain *chain, const char *line)
{
	uint32_t slots;
	if (sscanf(line, "%u", &slots) != 1 || slots < 2 || (slots & (slots - 1)) != 0)
		return false;
	const uint64_t bytes = (uint64_t)slots * sizeof(struct connection);
	chain->connection_bytes = (bytes + HUGE_PAGE_BYTES - 1) & ~(uint64_t)(HUGE_PAGE_BYTES - 1);
	chain->connections = aligned_alloc(HUGE_PAGE_BYTES, chain->connection_bytes);
	if (chain->connections == NULL)
		return false;
	/* Where the kernel has none the table lies in small pages. */
	madvise(chain->connections, chain->connection_bytes, MADV_HUGEPAGE);
	memset(chain->connections, 0, chain->connection_bytes);
	chain->slot_mask = slots - 1;
	return true;
}

static bool set_seeds(struct chain *chain, const char *line)
{
	chain->hash_seed = 0x5bd1e9955bd1e995ull;
	return sscanf(line, "%u %u", &chain->flow_seed, &chain->maglev_seed) == 2;
}

static bool set_tunnel(struct chain *chain, const char *line)
{
	char address[64], to[64], from[64];
	uint16_t port;
	uint8_t *bytes = chain->envelope.bytes;
	if (sscanf(line, "%63s %hu %63s %63s %d %u", address, &port, to, from, &chain->uplink_port,
		   &chain->mtu_bytes) != 6 ||
	    !read_address(address, &chain->node_address) || !read_mac(to, bytes) ||
	    !read_mac(from, bytes + MAC_BYTES))
		return false;
	struct ip_header *ip = ip_of(bytes);
	bytes[12] = 0x08;
	ip->version_and_length = 0x45;
	ip->fragment = htons(0x4000);
	ip->ttl = TTL;
	ip->protocol = PROTOCOL_UDP;
	ip->source = chain->node_address;
	udp_of(bytes)->destination_port = htons(port);
	bytes[L4_OFFSET + UDP_BYTES] = VXLAN_FLAGS;
	/* Of the header without length, congestion bits and destination. */
	for (int i = 0; i < IP_BYTES; i += 2)
		chain->envelope_sum += *(const word16 *)(bytes + ETHERNET_BYTES + i);
	return true;
}

static bool add_pod(struct chain *chain, const char *line)
{
	char address[64];
	uint32_t port, identity;
	if (sscanf(line, "%u %63s %u", &port, address, &identity) != 3 || port >= PORTS_MAX)
		return false;
	struct pod *pod = &chain->pods[port];
	pod->identity = identity;
	pod->is_pod = true;
	return read_address(address, &pod->address);
}

/* The table below an entry, made with the entry's value all over where there is none. */
static uint32_t *table_below(struct chain *chain, uint32_t *entry)
{
	if ((*entry & TABLE_FLAG) == 0) {
		if (chain->table_count == TABLES_MAX)
			return NULL;
		uint32_t *table = chain->tables[chain->table_count];
		for (int i = 0; i < 256; i++)
			table[i] = *entry;
		*entry = TABLE_FLAG | chain->table_count++;
	}
	return chain->tables[*entry & ~TABLE_FLAG];
}

/* Shorter prefixes come first in the file: each one covers what is there. */
static bool add_prefix(struct chain *chain, uint32_t address, int length, const struct way *way)
{
	if (chain->way_count == WAYS_MAX || length < 0 || length > 32)
		return false;
	const uint32_t number = chain->way_count++;
	const uint32_t bits = ntohl(address);
	chain->ways[number] = *way;
	uint32_t *table = chain->first_level;
	uint32_t at = bits >> 16;
	int left = 16;
	for (int level = 0; length > left; level++, left += 8) {
		table = table_below(chain, &table[at]);
		if (table == NULL)
			return false;
		at = (bits >> (8 - 8 * level)) & 0xff;
	}
	for (uint32_t i = 0; i < 1u << (left - length); i++)
		table[at + i] = number;
	return true;
}

static bool add_remote(struct chain *chain, const char *line)
{
	char prefix[64], endpoint[64];
	int length;
	uint32_t address;
	struct way way = {.port = CHAIN_NO_PORT};
	if (sscanf(line, " %63[^/]/%d %u %63s", prefix, &length, &way.identity, endpoint) != 4)
		return false;
	return read_address(prefix, &address) && read_address(endpoint, &way.tunnel_endpoint) &&
	       add_prefix(chain, address, length, &way);
}

static bool add_local(struct chain *chain, const char *line)
{
	char text[64], to[64], from[64];
	uint32_t address;
	struct way way = {0};
	if (sscanf(line, "%63s %u %d %63s %63s", text, &way.identity, &way.port, to, from) != 5)
		return false;
	return read_address(text, &address) && read_mac(to, way.macs) &&
	       read_mac(from, way.macs + MAC_BYTES) && add_prefix(chain, address, 32, &way);
}

static bool add_policy(struct chain *chain, const char *line)
{
	uint32_t identity;
	uint16_t port;
	uint8_t protocol;
	char verdict[8];
	if (sscanf(line, "%u %hu %hhu %7s", &identity, &port, &protocol, verdict) != 4)
		return false;
	const uint64_t key = policy_key(identity, port, protocol);
	struct policy_entry *entry = chain_policy(chain, key);
	entry->key = key;
	entry->is_allowed = strcmp(verdict, "allow") == 0;
	return true;
}

static bool add_service(struct chain *chain, const char *line)
{
	char text[64];
	uint32_t address;
	uint16_t port;
	uint8_t protocol;
	if (sscanf(line, "%63s %hu %hhu", text, &port, &protocol) != 3 ||
	    !read_address(text, &address))
		return false;
	struct service_entry *entry = chain_service(chain, address, htons(port), protocol);
	*entry = (struct service_entry){
		.address = address,
		.port = htons(port),
		.protocol = protocol,
		.is_used = true,
		.first_backend = chain->backend_count,
		.first_place = chain->place_count,
	};
	chain->last_service = entry;
	return true;
}

static bool add_backend(struct chain *chain, const char *line)
{
	char text[64];
	uint16_t port;
	if (chain->backend_count == BACKENDS_MAX || sscanf(line, "%63s %hu", text, &port) != 2)
		return false;
	struct backend *backend = &chain->backends[chain->backend_count++];
	backend->port = htons(port);
	return read_address(text, &backend->address);
}

static bool add_places(struct chain *chain, const char *line)
{
	int taken;
	uint8_t place;
	for (; sscanf(line, "%hhu%n", &place, &taken) == 1; line += taken) {
		struct service_entry *service = chain->last_service;
		if (service == NULL || chain->place_count == PLACES_MAX ||
		    service->first_backend + place >= chain->backend_count)
			return false;
		chain->places[chain->place_count++] = place;
		service->place_count++;
	}
	return true;
}

static const struct {
	const char *name;
	bool (*read)(struct chain *chain, const char *line);
} items[] = {
	{"connections", set_connections}, {"seeds", set_seeds},	    {"tunnel", set_tunnel},
	{"pod", add_pod},		  {"remote", add_remote},   {"local", add_local},
	{"policy", add_policy},		  {"service", add_service}, {"backend", add_backend},
	{"places", add_places},
};

static bool read_line(struct chain *chain, const char *line)
{
	char name[32];
	int taken;
	if (sscanf(line, "%31s%n", name, &taken) != 1)
		return true;
	for (size_t i = 0; i < sizeof items / sizeof items[0]; i++)
		if (strcmp(name, items[i].name) == 0)
			return items[i].read(chain, line + taken);
	return false;
}

static bool read_file(struct chain *chain, FILE *file, char *error, uint32_t error_bytes)
{
	char line[LINE_BYTES];
	for (int number = 1; fgets(line, sizeof line, file) != NULL; number++) {
		if (read_line(chain, line))
			continue;
		snprintf(error, error_bytes, "line %d: %s", number, line);
		return false;
	}
	if (chain->connections != NULL)
		return true;
	snprintf(error, error_bytes, "no line gives the connections");
	return false;
}

struct chain *chain_open(const char *path, char *error, uint32_t error_bytes)
{
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		snprintf(error, error_bytes, "%s: %s", path, strerror(errno));
		return NULL;
	}
	struct chain *chain = calloc(1, sizeof *chain);
	bool is_well = chain != NULL;
	if (is_well) {
		chain->first_level = calloc(FIRST_LEVEL, sizeof *chain->first_level);
		chain->tables = calloc(TABLES_MAX, sizeof *chain->tables);
		chain->ways[0] = (struct way){.identity = 2, .port = CHAIN_NO_PORT};
		chain->way_count = 1;
		is_well = chain->first_level != NULL && chain->tables != NULL &&
			  read_file(chain, file, error, error_bytes);
	}
	fclose(file);
	if (is_well)
		return chain;
	chain_close(chain);
	return NULL;
}

void chain_close(struct chain *chain)
{
	if (chain == NULL)
		return;
	free(chain->connections);
	free(chain->first_level);
	free(chain->tables);
	free(chain);
}
