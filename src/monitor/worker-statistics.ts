/**
 * How a worker fares, as cells of counter maps: what it does with its time, sampled time of stages,
 * its garbage collections and heap (map `worker_statistics`), and the rings of each port
 * (`port_rings`). A worker writes its own row about once a second; counters count since it started.
 */
import { PORTS_MAX } from '../base/limits.js'

/** What a worker does with its time. */
export const WORKER_STATES = ['busy', 'spinning', 'asleep'] as const
/** Kinds of collections. */
export const GC_KINDS = ['minor', 'major'] as const

/** In place of a stage's number; stages themselves are below. */
export const TimedPass = { ENTRY: 256, LANE: 257, PARSE: 258, TOUCH: 259 } as const
const TIMED_STAGES = 260

export const WorkerCell = {
  FRAMES: 0,
  BURSTS: 1,
  /** Frames that the flow lane carried. */
  REPEATED: 2,
  SLEEPS: 3,
  /** Seconds, in the order of WORKER_STATES. */
  STATES: 4,
  /** Count and seconds of each of GC_KINDS. */
  COLLECTIONS: 8,
  /** Bytes. */
  HEAP_USED: 12,
  HEAP_TOTAL: 13,
  /** Packets and nanoseconds of each stage or pass. */
  STAGES: 16,
} as const
export const WORKER_CELLS = WorkerCell.STAGES + 2 * TIMED_STAGES

/** Cells of a port. Frames are there now; the others are counted. */
export const RingCell = {
  /** On the fill and receive rings, and between them. */
  FRAMES_RECEIVING: 0,
  /** On the transmit and completion rings, and between them. */
  FRAMES_SENDING: 1,
  /** Calls that asked the kernel to send, and those after which it had taken nothing (EAGAIN, EBUSY, ENOBUFS). */
  KICKS: 2,
  KICK_ERRORS: 3,
  /** Times that a frame came and found no free one. */
  FILL_RING_EMPTY: 4,
} as const
export const RING_CELLS = 5
export const PORT_RINGS_CELLS = PORTS_MAX * RING_CELLS
