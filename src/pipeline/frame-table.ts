/**
 * What pass one learned of each frame of a burst: one row of int32 words per frame, so that the
 * passes which follow read neither the packet nor a JavaScript object. The first ten words are the
 * tuple as src/wire/tuple.ts lays it out.
 */

export const FRAME_WORDS = 20

/** Word numbers within a frame's row. */
export const Frame = {
  /** Four words, IPv4 as ::ffff:a.b.c.d. */
  SOURCE: 0,
  DESTINATION: 4,
  /** Source port in the upper half, destination port in the lower. */
  PORTS: 8,
  PROTOCOL: 9,
  /** The same for both directions of a flow. */
  HASH: 10,
  ETHER_TYPE: 11,
  L3_OFFSET: 12,
  L4_OFFSET: 13,
  /** TCP flag byte; 0 for other protocols. */
  TCP_FLAGS: 14,
  /** ICMP type; -1 for other protocols. */
  ICMP_TYPE: 15,
  /** 0, or the DropReason with which the network header was found wanting. */
  L3_VERDICT: 16,
  /**
   * 0, or the DropReason that connection tracking has for the transport header; of a later fragment
   * FRAGMENT_NOT_FOUND, until its ports are found.
   */
  L4_VERDICT: 17,
  /** FragmentKind. */
  FRAGMENT: 18,
} as const

/** Which part of a datagram a frame holds. */
export const FragmentKind = { WHOLE: 0, FIRST: 1, LATER: 2 } as const

export class FrameTable {
  readonly words: Int32Array

  constructor(capacity: number) {
    this.words = new Int32Array(capacity * FRAME_WORDS)
  }
}
