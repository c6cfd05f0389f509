/**
 * The envelope of a tunnel (Ethernet, IPv4 without options, UDP without checksum, VXLAN; see
 * vxlan.ts) by whole words, as plain4.ts reads the frame inside: what the envelopes of many packets
 * have in common is read from one and written in front of the others.
 *
 * Its 50 bytes end where the inner frame begins, at a multiple of eight. By words before that, in the
 * machine's own order:
 *
 *     -13  none of it       | destination MAC     -6  source
 *     -12  destination MAC                        -5  destination
 *     -11  source MAC                             -4  source port    | destination port
 *     -10  source MAC       | type                -3  UDP length     | UDP checksum
 *      -9  version, TOS     | total length        -2  VXLAN flags
 *      -8  identification   | fragment            -1  VXLAN network identifier
 *      -7  TTL, protocol    | checksum
 *
 * What differs: the lengths, the two bits of congestion notification, the IP checksum that follows
 * from them, and the source port, which tells flows apart. A template has none of them, and in the
 * checksum's place the folded sum of the other halves of the IP header.
 */
import * as checksums from './checksum.js'
import { Protocol } from './protocols.js'
import { ENVELOPE_BYTES } from './vxlan.js'

export const ENVELOPE_WORDS = 13
const ETHERNET_BYTES = 14
const IPV4_BYTES = 20

const UPPER = 0xffff0000 | 0
const LOWER = 0xffff
/** In the word of version and type of service. */
const VERSION_MASK = 0xff
const VERSION_4_NO_OPTIONS = 0x45
const CONGESTION_SHIFT = 8
const CONGESTION_MASK = 3 << CONGESTION_SHIFT
const FRAGMENT_MASK = 0xff3f_0000 | 0
const { UDP } = Protocol

/** Words of a template that are put together for each packet. */
const VERSION = 4
const FRAGMENT = 5
const TTL = 6
const SOURCE = 7
const DESTINATION = 8
const PORTS = 9
const UDP_LENGTH = 10

const swap16 = (half: number): number => ((half & 0xff) << 8) | ((half >>> 8) & 0xff)

/** Of the envelope in front of the frame at word `at`: its UDP source port, as in memory. */
export const sourcePort = (words: Int32Array, at: number): number =>
  (words[at - ENVELOPE_WORDS + PORTS] as number) & LOWER

/**
 * Writes the template of the envelope in front of the frame at word `at` to `out`; false where it
 * is none that `write` could write again.
 */
export function readTemplate(words: Int32Array, at: number, out: Int32Array, to: number): boolean {
  const from = at - ENVELOPE_WORDS
  for (let i = 0; i < ENVELOPE_WORDS; i++) out[to + i] = words[from + i] as number
  const version = out[to + VERSION] as number
  const ttl = out[to + TTL] as number
  const udpLength = out[to + UDP_LENGTH] as number
  const isPlain = (version & VERSION_MASK) === VERSION_4_NO_OPTIONS && ((ttl >>> 8) & 0xff) === UDP
  const isWhole = ((out[to + FRAGMENT] as number) & FRAGMENT_MASK) === 0
  if (!isPlain || !isWhole || udpLength >>> 16 !== 0) return false
  out[to] = (out[to] as number) & UPPER
  out[to + VERSION] = version & LOWER & ~CONGESTION_MASK
  out[to + PORTS] = (out[to + PORTS] as number) & UPPER
  out[to + UDP_LENGTH] = 0
  const sum =
    (out[to + VERSION] as number) +
    checksums.word(out[to + FRAGMENT] as number) +
    (ttl & LOWER) +
    checksums.word(out[to + SOURCE] as number) +
    checksums.word(out[to + DESTINATION] as number)
  out[to + TTL] = (ttl & LOWER) | (checksums.fold(sum) << 16)
  return true
}

/**
 * Puts an envelope in front of the plain frame at word `at`, which has room for it there. What stands in
 * templates as it is to be goes by two words at a time.
 *
 * @param pairs the memory of `words`; `at` is even
 * @param from of the template in `templates`, an odd number, so that its pairs are those of the frame
 * @param templatePairs the memory of `templates`
 * @param frameBytes of the inner frame
 * @param port source port, as in memory
 */
export const write = (
  words: Int32Array,
  pairs: BigInt64Array,
  at: number,
  templates: Int32Array,
  templatePairs: BigInt64Array,
  from: number,
  frameBytes: number,
  port: number,
): void => {
  const pair = at >> 1
  const fromPair = from >> 1
  const total = swap16(frameBytes + ENVELOPE_BYTES - ETHERNET_BYTES)
  const udpBytes = frameBytes + ENVELOPE_BYTES - ETHERNET_BYTES - IPV4_BYTES
  // RFC 6040 section 4.1: the inner header's bits, whose place in the frame is the word behind its MACs.
  const congestion = ((words[at + 3] as number) >>> 16) & CONGESTION_MASK
  const ttlAndSum = templates[from + TTL] as number
  const sum = checksums.complement((ttlAndSum >>> 16) + congestion + total)
  words[at - 13] = templates[from] as number
  pairs[pair - 6] = templatePairs[fromPair + 1] as bigint
  words[at - 10] = templates[from + 3] as number
  words[at - 9] = (templates[from + VERSION] as number) | congestion | (total << 16)
  words[at - 8] = templates[from + FRAGMENT] as number
  words[at - 7] = (ttlAndSum & LOWER) | (sum << 16)
  pairs[pair - 3] = templatePairs[fromPair + 4] as bigint
  words[at - 4] = (templates[from + PORTS] as number) | port
  words[at - 3] = swap16(udpBytes)
  pairs[pair - 1] = templatePairs[fromPair + 6] as bigint
}
