/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet, IPv4, TCP and UDP headers as the yardstick reads them. Sums are of 16-bit words as the
 * machine loads them: RFC 1071 section 2 (B) lets both operands be byte-swapped alike.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ETHERNET_BYTES 14
#define IP_BYTES 20
#define UDP_BYTES 8
#define TCP_BYTES 20
#define L4_OFFSET (ETHERNET_BYTES + IP_BYTES)
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define TCP_FLAGS_OFFSET (L4_OFFSET + 13)

struct ip_header {
	uint8_t version_and_length;
	uint8_t type_of_service;
	uint16_t total_length;
	uint16_t identification;
	uint16_t fragment;
	uint8_t ttl;
	uint8_t protocol;
	uint16_t checksum;
	uint32_t source;
	uint32_t destination;
} __attribute__((packed, may_alias));

struct udp_header {
	uint16_t source_port;
	uint16_t destination_port;
	uint16_t length;
	uint16_t checksum;
} __attribute__((packed, may_alias));

typedef uint16_t __attribute__((may_alias)) word16;

static inline struct ip_header *ip_of(const uint8_t *frame)
{
	return (struct ip_header *)(frame + ETHERNET_BYTES);
}

static inline struct udp_header *udp_of(const uint8_t *frame)
{
	return (struct udp_header *)(frame + L4_OFFSET);
}

static inline uint16_t fold(uint32_t sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)((sum >> 16) + (sum & 0xffff));
}

static inline uint32_t delta16(uint16_t before, uint16_t after)
{
	return (uint16_t)~before + (uint32_t)after;
}

static inline uint32_t delta32(uint32_t before, uint32_t after)
{
	return delta16((uint16_t)before, (uint16_t)after) +
	       delta16((uint16_t)(before >> 16), (uint16_t)(after >> 16));
}

/* RFC 1624, equation 3. */
static inline uint16_t checksum_apply(uint16_t checksum, uint32_t delta)
{
	return (uint16_t)~fold((uint16_t)~checksum + delta);
}

static inline uint16_t *checksum_field(uint8_t *frame)
{
	const int at = ip_of(frame)->protocol == PROTOCOL_TCP ? 16 : 6;
	return (word16 *)(frame + L4_OFFSET + at);
}

/* A whole IPv4 packet without options, of TCP or UDP. */
static inline bool frame_is_whole(const uint8_t *frame, int32_t length)
{
	if (length < L4_OFFSET + UDP_BYTES)
		return false;
	uint16_t type;
	memcpy(&type, frame + 12, sizeof type);
	const struct ip_header *ip = ip_of(frame);
	const int32_t total = __builtin_bswap16(ip->total_length);
	if (type != __builtin_bswap16(0x0800) || ip->version_and_length != 0x45 ||
	    (ip->fragment & __builtin_bswap16(0x3fff)) != 0 || ETHERNET_BYTES + total > length)
		return false;
	if (ip->protocol == PROTOCOL_UDP) {
		const int32_t bytes = __builtin_bswap16(udp_of(frame)->length);
		return bytes >= UDP_BYTES && bytes == total - IP_BYTES;
	}
	const int32_t header = (frame[L4_OFFSET + 12] >> 4) * 4;
	return ip->protocol == PROTOCOL_TCP && header >= TCP_BYTES && total >= IP_BYTES + header;
}

static inline uint32_t pseudo_header_sum(const struct ip_header *ip)
{
	const uint16_t bytes = __builtin_bswap16(ip->total_length) - IP_BYTES;
	return (ip->source >> 16) + (ip->source & 0xffff) + (ip->destination >> 16) +
	       (ip->destination & 0xffff) + (ip->protocol << 8) + __builtin_bswap16(bytes);
}

/* A sender behind a veth leaves the transport's checksum to the hardware: see partial-checksum.ts. */
static inline bool is_checksum_partial(uint8_t *frame)
{
	return *checksum_field(frame) == fold(pseudo_header_sum(ip_of(frame)));
}

static inline void complete_checksum(uint8_t *frame)
{
	uint16_t *field = checksum_field(frame);
	const int32_t bytes = __builtin_bswap16(ip_of(frame)->total_length) - IP_BYTES;
	const uint8_t *transport = frame + L4_OFFSET;
	uint64_t sum = 0;
	/* The field holds the pseudo header's sum already. */
	for (int32_t i = 0; i + 1 < bytes; i += 2)
		sum += *(const word16 *)(transport + i);
	if (bytes & 1)
		sum += transport[bytes - 1];
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	const uint16_t checksum = (uint16_t)~fold((uint32_t)sum);
	*field = checksum == 0 && ip_of(frame)->protocol == PROTOCOL_UDP ? 0xffff : checksum;
}
