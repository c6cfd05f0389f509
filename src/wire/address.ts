/**
 * Addresses as people write them: IPv4, IPv6 (RFC 4291 in, RFC 5952 out), MAC, and CIDR. For the
 * control plane; it allocates and throws EWIRE_ADDRESS. Inside, an IP address is four int32 words,
 * most significant first, and IPv4 a.b.c.d is ::ffff:a.b.c.d, which therefore prints as a.b.c.d.
 * Not here: zones (`fe80::1%eth0`), names.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { IPV4_MAPPED } from './tuple.js'

export const ADDRESS_WORDS = 4
/** Bits in front of an IPv4 address in the four words: /n of IPv4 is /(96 + n). */
export const IPV4_PREFIX_BITS = 96
const IPV6_BITS = 128

export interface Cidr {
  /** The network's address: bits behind the prefix are zero. */
  readonly words: Int32Array
  /** Of the 128 bits: an IPv4 /n is 96 + n. */
  readonly prefixBits: number
}

export interface Mac {
  /** The first four bytes, an int32. */
  readonly high: number
  /** The last two, 0 to 0xffff. */
  readonly low: number
}

function invalid(value: string, expected: string): RingpathError {
  const message = `${JSON.stringify(value)} is not ${expected}`
  return new RingpathError(ErrorCode.WIRE_ADDRESS, message)
}

/** The four words of an IPv4 address given as int32. */
export function ipv4Words(address: number): Int32Array {
  return Int32Array.of(0, 0, IPV4_MAPPED, address)
}

/** Whether the four words from `index` on are an IPv4 address; it is the last of them then. */
export function isIpv4Words(words: Int32Array, index = 0): boolean {
  return words[index] === 0 && words[index + 1] === 0 && words[index + 2] === IPV4_MAPPED
}

/** "10.0.0.1" as int32. Four decimal numbers without leading zeros, nothing else. */
export function parseIpv4(text: string): number {
  if (!isIPv4(text)) throw invalid(text, 'an IPv4 address such as 10.0.0.1')
  return ipv4Value(text)
}

/** An IPv4 or IPv6 address as four words. */
export function parseAddress(text: string): Int32Array {
  if (isIPv4(text)) return ipv4Words(ipv4Value(text))
  if (isIPv6(text) && !text.includes('%')) return ipv6Value(text)
  throw invalid(text, 'an IPv4 or IPv6 address such as 10.0.0.1 or fd00::1 (without a zone)')
}

/**
 * "address/bits"; bits of the address behind the prefix are cleared. A bare address is a prefix of
 * its full length.
 */
export function parseCidr(text: string): Cidr {
  const expected = 'an address with an optional prefix length, such as 10.0.0.0/8 or fd00::/64'
  const slash = text.indexOf('/')
  const addressText = slash === -1 ? text : text.slice(0, slash)
  const isV4 = isIPv4(addressText)
  if (!isV4 && (!isIPv6(addressText) || addressText.includes('%'))) throw invalid(text, expected)
  const words = parseAddress(addressText)
  const bitsMax = isV4 ? IPV6_BITS - IPV4_PREFIX_BITS : IPV6_BITS
  const bitsText = slash === -1 ? String(bitsMax) : text.slice(slash + 1)
  const bits = /^(0|[1-9]\d{0,2})$/.test(bitsText) ? Number(bitsText) : -1
  if (bits < 0 || bits > bitsMax) {
    throw invalid(text, `${expected}: the prefix length must be 0 to ${bitsMax}`)
  }
  const prefixBits = isV4 ? IPV4_PREFIX_BITS + bits : bits
  clearHostBits(words, prefixBits)
  return { words, prefixBits }
}

/** "aa:bb:cc:dd:ee:ff": six pairs of hexadecimal digits of either case, joined by colons. */
export function parseMac(text: string): Mac {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw invalid(text, 'a MAC address such as 02:00:00:00:00:01')
  }
  const digits = text.replaceAll(':', '')
  return {
    high: Number.parseInt(digits.slice(0, 8), 16) | 0,
    low: Number.parseInt(digits.slice(8), 16),
  }
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`
}

/** Text of the four words from `index` on. */
export function formatAddress(words: Int32Array, index = 0): string {
  if (isIpv4Words(words, index)) return formatIpv4(words[index + 3] ?? 0)
  const groups: number[] = []
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    const word = words[index + i] ?? 0
    groups.push(word >>> 16, word & 0xffff)
  }
  return formatGroups(groups)
}

export function formatCidr(cidr: Cidr): string {
  const isV4 = isIpv4Words(cidr.words) && cidr.prefixBits >= IPV4_PREFIX_BITS
  if (isV4) return `${formatAddress(cidr.words)}/${cidr.prefixBits - IPV4_PREFIX_BITS}`
  // A prefix shorter than 96 bits is of IPv6 even when its address looks mapped, such as
  // ::ffff:0:0/90.
  const mapped = isIpv4Words(cidr.words) ? '::ffff:0:0' : formatAddress(cidr.words)
  return `${mapped}/${cidr.prefixBits}`
}

export function formatMac(high: number, low: number): string {
  const digits = (high >>> 0).toString(16).padStart(8, '0') + low.toString(16).padStart(4, '0')
  return digits.replace(/..(?=.)/g, '$&:')
}

function ipv4Value(text: string): number {
  let value = 0
  for (const part of text.split('.')) value = (value << 8) | Number(part)
  return value
}

/**
 * Of text that `isIPv6` accepted: at most one `::`, which stands for the groups that are missing.
 */
function ipv6Value(text: string): Int32Array {
  const [front = '', back] = text.split('::')
  const head = groupsOf(front)
  const tail = back === undefined ? [] : groupsOf(back)
  const groups = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail]
  const words = new Int32Array(ADDRESS_WORDS)
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    words[i] = ((groups[2 * i] ?? 0) << 16) | (groups[2 * i + 1] ?? 0)
  }
  return words
}

/**
 * The 16-bit groups of colon-joined text; a dotted IPv4 address at its end is two (RFC 4291 section
 * 2.2).
 */
function groupsOf(text: string): number[] {
  const groups: number[] = []
  if (text === '') return groups
  for (const part of text.split(':')) {
    if (part.includes('.')) {
      const value = ipv4Value(part)
      groups.push(value >>> 16, value & 0xffff)
    } else {
      groups.push(Number.parseInt(part, 16))
    }
  }
  return groups
}

/**
 * RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equals, becomes
 * `::`.
 */
function formatGroups(groups: readonly number[]): string {
  let bestStart = -1
  let bestLength = 1
  for (let start = 0; start < groups.length; start++) {
    let length = 0
    while (groups[start + length] === 0) length++
    if (length > bestLength) {
      bestStart = start
      bestLength = length
    }
  }
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':')
  if (bestStart === -1) return hex(groups)
  return `${hex(groups.slice(0, bestStart))}::${hex(groups.slice(bestStart + bestLength))}`
}

function clearHostBits(words: Int32Array, prefixBits: number): void {
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    const kept = Math.min(Math.max(prefixBits - 32 * i, 0), 32)
    // A shift by 32 would shift by 0.
    words[i] = kept === 0 ? 0 : (words[i] ?? 0) & (-1 << (32 - kept))
  }
}
