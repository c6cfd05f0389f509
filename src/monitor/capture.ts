/**
 * What a capture of whole frames consists of: the words of a reader's wish, which lie in the map
 * `capture`, and the records of its ring, a file that is made for one capture and goes with it.
 * src/pipeline/packet-tap.ts writes the records; src/observe/capture-session.ts reads them.
 */
import { PORTS_MAX, WORKERS_MAX } from '../base/limits.js'
import type { MapSpec } from '../maps/map.js'

/** Where a frame is captured. */
export const CapturePoint = {
  /** A record that is none: its packet turned out not to be asked for. */
  VOID: 0,
  /** As it came in by a port. */
  INGRESS: 1,
  /** As it leaves by a port, after all rewriting. */
  EGRESS: 2,
  /** As a stage gets it. */
  STAGE: 3,
  /** As it was when it was dropped. */
  DROP: 4,
} as const
export type CapturePoint = (typeof CapturePoint)[keyof typeof CapturePoint]

/** What became of a packet, where only some are wanted. */
export const CaptureVerdict = { ANY: 0, FORWARDED: 1, DROPPED: 2 } as const
export type CaptureVerdict = (typeof CaptureVerdict)[keyof typeof CaptureVerdict]

/** Stages have numbers below it. */
const STAGES_MAX = 256
/** Any port, any protocol. */
export const ANY = -1

/** Words of the wish. Addresses are IPv4, with a mask of 0 for "any". */
export const CaptureWord = {
  /** Number of the capture that is on; 0 for none. Written last. */
  SESSION: 0,
  /** Of the monotonic clock, by the reader at least once a second: who is silent is dead. */
  ALIVE_SECONDS: 1,
  /** Bytes of a frame that are kept. */
  SNAP_BYTES: 2,
  /** Bits, by CapturePoint. */
  POINTS: 3,
  /** CaptureVerdict, and a drop code or 0. */
  VERDICT: 4,
  DROP_CODE: 5,
  PROTOCOL: 6,
  /** Of either side, of the source, of the destination. */
  PORT: 7,
  SOURCE_PORT: 8,
  DESTINATION_PORT: 9,
  /** Address and mask each. */
  ADDRESS: 10,
  SOURCE: 12,
  DESTINATION: 14,
  /** Of either side; 0 for any. */
  IDENTITY: 16,
  /** Bit sets. */
  STAGES: 24,
  INGRESS_PORTS: 24 + STAGES_MAX / 32,
  EGRESS_PORTS: 24 + STAGES_MAX / 32 + PORTS_MAX / 32,
  /** By worker: number of the capture that it has taken up. */
  TAKEN_UP: 24 + STAGES_MAX / 32 + (2 * PORTS_MAX) / 32,
} as const
export const CAPTURE_WORDS = CaptureWord.TAKEN_UP + WORKERS_MAX

/** A reader that was silent for so long is dead. */
export const CAPTURE_SILENCE_SECONDS = 3

/**
 * One of the maps that decisions rest on, though none does: a change voids what the flow lane knows,
 * which a capture of stages makes rest.
 */
export const CAPTURE_SPEC: MapSpec = {
  name: 'capture',
  type: 'array',
  keyWords: 0,
  valueWords: CAPTURE_WORDS,
  maxEntries: 1,
}

/** Words of a record; the frame's bytes follow, in words as the packet buffer reads them. */
export const CaptureRecord = {
  POINT: 0,
  SECONDS: 1,
  NANOSECONDS: 2,
  /** It came in by; at EGRESS, it leaves by. */
  PORT: 3,
  /** The stage that gets it, at STAGE. */
  STAGE: 4,
  /** Of its packet, in the end: a Verdict. */
  VERDICT: 5,
  LAST_STAGE: 6,
  /** -1 unless it leaves. */
  EGRESS_PORT: 7,
  SOURCE_IDENTITY: 8,
  DESTINATION_IDENTITY: 9,
  CT_RESULT: 10,
  RULE_COOKIE: 11,
  DIRECTION: 12,
  ENDPOINT: 13,
  /** 1: the flow lane carried it. */
  IS_REPEATED: 14,
  FRAME_BYTES: 15,
  CAPTURED_BYTES: 16,
  /** Another number for each packet of a capture, so that the records of one can be told. */
  PACKET: 17,
  FRAME: 18,
} as const

/** A whole frame, with the outer headers of a tunnel. */
export const SNAP_BYTES_MAX = 2112

/** A worker's ring is a file of this name in the state directory. */
export const captureRingName = (worker: number): string =>
  worker === 0 ? 'capture_ring' : `capture_ring_${worker}`

/** @param snapBytes at most SNAP_BYTES_MAX */
export const captureRingSpec = (snapBytes: number, records: number, worker = 0): MapSpec => ({
  name: captureRingName(worker),
  type: 'event-ring',
  keyWords: 0,
  valueWords: CaptureRecord.FRAME + Math.ceil(snapBytes / 4),
  maxEntries: records,
})

export const setBit = (words: Int32Array, start: number, bit: number): void => {
  words[start + (bit >> 5)] = (words[start + (bit >> 5)] as number) | (1 << (bit & 31))
}

export const hasBit = (words: Int32Array, start: number, bit: number): boolean =>
  (((words[start + (bit >> 5)] as number) >>> (bit & 31)) & 1) !== 0
