/**
 * Reads the classic capture format, version 2.4 (draft-ietf-opsawg-pcap): both byte orders, micro-
 * and nanoseconds. Does not read the variants of other magic numbers (Kuznetsov's "modified" one,
 * Navtel's); they are refused by value.
 */
import type { ByteSource } from './byte-source.js'
import {
  CAPTURED_BYTES_MAX,
  type CapturedFrame,
  type CaptureReader,
  type DescribedInterface,
  Direction,
  formatError,
  NANOSECONDS_PER_SECOND,
} from './capture.js'

export const PcapMagic = { MICROSECONDS: 0xa1b2c3d4, NANOSECONDS: 0xa1b23c4d } as const

export const PCAP_HEADER_BYTES = 24
export const PCAP_RECORD_HEADER_BYTES = 16
const VERSION_MAJOR = 4
const VERSION_MINOR = 6
const SNAP_LENGTH = 16
const LINK_TYPE = 20
const RECORD_SECONDS = 0
const RECORD_FRACTION = 4
const RECORD_CAPTURED = 8
const RECORD_ORIGINAL = 12
/**
 * In the link type word: set when the four highest bits count 16-bit words of frame check sequence.
 */
const CHECK_SEQUENCE_KNOWN = 0x0400_0000

/** The byte order of a capture whose first bytes are a pcap magic number, or null. */
export function isPcapLittleEndian(source: ByteSource): boolean | null {
  for (const isLittleEndian of [true, false]) {
    source.isLittleEndian = isLittleEndian
    const magic = source.u32(0)
    if (magic === PcapMagic.MICROSECONDS || magic === PcapMagic.NANOSECONDS) return isLittleEndian
  }
  return null
}

export class PcapReader implements CaptureReader {
  readonly interfaces: readonly DescribedInterface[]
  readonly #source: ByteSource
  readonly #nanosecondsPerUnit: number
  readonly #checkSequenceBytes: number

  /** Reads the file header; `isPcapLittleEndian` has set the byte order. Throws EPCAP_FORMAT. */
  constructor(source: ByteSource) {
    if (!source.has(PCAP_HEADER_BYTES)) {
      throw formatError(source.offset, 'the file header', 'cut short', `${PCAP_HEADER_BYTES} bytes`)
    }
    const version = `${source.u16(VERSION_MAJOR)}.${source.u16(VERSION_MINOR)}`
    if (version !== '2.4') throw formatError(VERSION_MAJOR, 'the version', version, '2.4')
    this.#source = source
    this.#nanosecondsPerUnit = source.u32(0) === PcapMagic.NANOSECONDS ? 1 : 1000
    const linkType = source.u32(LINK_TYPE)
    this.#checkSequenceBytes = (linkType & CHECK_SEQUENCE_KNOWN) === 0 ? 0 : 2 * (linkType >>> 28)
    const snapLength = source.u32(SNAP_LENGTH)
    this.interfaces = [
      { name: '', linkType: linkType & 0xffff, snapLength, linkTypeOffset: LINK_TYPE },
    ]
    source.skip(PCAP_HEADER_BYTES)
  }

  next(): CapturedFrame | null {
    const source = this.#source
    const offset = source.offset
    if (!source.has(1)) return null
    if (!source.has(PCAP_RECORD_HEADER_BYTES)) {
      throw formatError(
        offset,
        'the record header',
        'cut short',
        `${PCAP_RECORD_HEADER_BYTES} bytes`,
      )
    }
    const seconds = source.u32(RECORD_SECONDS)
    const fraction = source.u32(RECORD_FRACTION)
    const captured = source.u32(RECORD_CAPTURED)
    const original = source.u32(RECORD_ORIGINAL)
    const unitsPerSecond = 1e9 / this.#nanosecondsPerUnit
    if (fraction >= unitsPerSecond) {
      const expected = `below ${unitsPerSecond}`
      throw formatError(offset + RECORD_FRACTION, 'the fraction of the second', fraction, expected)
    }
    checkLengths(offset + RECORD_CAPTURED, captured, original)
    source.skip(PCAP_RECORD_HEADER_BYTES)
    if (!source.has(captured)) {
      throw formatError(source.offset, 'the frame', 'cut short', `${captured} bytes`)
    }
    const bytes = source.bytes(0, captured)
    source.skip(captured)
    return {
      bytes,
      originalLength: original,
      timeNanoseconds:
        BigInt(seconds) * NANOSECONDS_PER_SECOND + BigInt(fraction * this.#nanosecondsPerUnit),
      interfaceIndex: 0,
      direction: Direction.UNKNOWN,
      checkSequenceBytes: this.#checkSequenceBytes,
      comments: [],
    }
  }
}

/** @param offset of the field that holds `captured` */
export function checkLengths(offset: number, captured: number, original: number): void {
  if (captured > CAPTURED_BYTES_MAX) {
    throw formatError(offset, 'the captured length', captured, `at most ${CAPTURED_BYTES_MAX}`)
  }
  if (captured > original) {
    const expected = `at most the original length, ${original}`
    throw formatError(offset, 'the captured length', captured, expected)
  }
}
