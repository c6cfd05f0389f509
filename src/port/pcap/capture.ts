/**
 * What the two capture formats have in common: a captured frame, a reader, a writer, and the error
 * for a malformed file.
 *
 * A capture file is input from outside: whatever it holds ends in frames or in one RingpathError
 * EPCAP_FORMAT, with memory bounded by the limits below.
 */
import { ErrorCode, RingpathError } from '../../base/errors.js'

/** LINKTYPE_ETHERNET, https://www.tcpdump.org/linktypes.html */
export const LINK_TYPE_ETHERNET = 1

/** The longest frame that is read, tcpdump's own maximum; a length beyond it is a damaged file. */
export const CAPTURED_BYTES_MAX = 262_144

export const NANOSECONDS_PER_SECOND = 1_000_000_000n

/** Which way a frame crossed its port; the values of the lowest two bits of epb_flags. */
export const Direction = { UNKNOWN: 0, INBOUND: 1, OUTBOUND: 2 } as const
export type Direction = (typeof Direction)[keyof typeof Direction]

export interface CapturedFrame {
  /** The captured bytes: a view of the reader's buffer, overwritten by the next read. */
  readonly bytes: Uint8Array
  /** Length on the wire; more than `bytes.length` when the capture was cut to a snap length. */
  readonly originalLength: number
  /**
   * Nanoseconds since 1970, rounded down; null where the format carries none (a simple packet
   * block).
   */
  readonly timeNanoseconds: bigint | null
  /** Into `CaptureReader.interfaces`. */
  readonly interfaceIndex: number
  readonly direction: Direction
  /** Bytes of frame check sequence at the end of the frame, part of `originalLength`. */
  readonly checkSequenceBytes: number
  readonly comments: readonly string[]
}

export interface CaptureInterface {
  readonly name: string
  readonly linkType: number
  /** Longest frame that was captured whole, in bytes; 0 for no limit. */
  readonly snapLength: number
}

/** An interface of a file that is read. */
export interface DescribedInterface extends CaptureInterface {
  /** Where the file names the link type, for the message of who cannot use it. */
  readonly linkTypeOffset: number
}

export interface CaptureReader {
  /** Those described so far (pcap: one). A new section of a pcapng file begins a new list. */
  readonly interfaces: readonly DescribedInterface[]
  /** The next frame, or null at the end of the file. Throws EPCAP_FORMAT. */
  next(): CapturedFrame | null
}

export interface FrameAnnotations {
  readonly direction?: Direction
  readonly comments?: readonly string[]
  /** Length on the wire, when the given bytes are only the beginning. */
  readonly originalLength?: number
}

export interface CaptureWriter {
  /**
   * Describes another interface; returns its index. A pcap file has room for one, called whatever.
   */
  addInterface(captured: CaptureInterface): number
  /** Appends a frame, cut to the interface's snap length. Throws what the file system says. */
  write(
    interfaceIndex: number,
    timeNanoseconds: bigint,
    bytes: Uint8Array,
    annotations?: FrameAnnotations,
  ): void
  /** Hands what is buffered to the operating system. */
  flush(): void
  /** Flushes and closes the file. A second call does nothing. */
  close(): void
}

/** @param offset of the field, in bytes from the start of the file */
export function formatError(
  offset: number,
  field: string,
  found: number | bigint | string,
  expected: string,
): RingpathError {
  return new RingpathError(
    ErrorCode.PCAP_FORMAT,
    `capture file, offset ${offset}: ${field} is ${found}, expected ${expected}`,
  )
}
