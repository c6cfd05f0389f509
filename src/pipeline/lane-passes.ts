/**
 * The passes of the flow lane (flow-lane.ts) over a burst, as closures over the lane's memory.
 *
 * V8 compiles a function for the objects that it closes over as long as there is only one of its
 * kind: the arrays' addresses and lengths become constants of the code, where a method loads and
 * checks them at each use. A packet takes two thirds of the time so (docs/adr/0020). More lanes in one
 * thread are as right, but take the longer time.
 */
import type { Burst } from '../packet/burst.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as envelope4 from '../wire/envelope4.js'
import { completePartialChecksum } from '../wire/partial-checksum.js'
import * as plain4 from '../wire/plain4.js'
import { ENVELOPE_BYTES } from '../wire/vxlan.js'
import { MAC_WORDS, ROW_SHIFT } from './adjacency-table.js'
import { Around, FlowAction, TTL_HOPS_MAX } from './flow-action.js'
import { Flow, NO_FLOW } from './flow-layout.js'
import { KIND_MASK, NOTE_SHIFT, Note } from './flow-notes.js'
import type { FlowTable } from './flow-table.js'

const { NONE, STEADY } = plain4.Plain
const { ACTION, NEW_ENDS_A, NEW_ENDS_B, NEW_ENDS_C, DELTAS, AROUND, PSEUDO } = Flow
const { PORT_MASK, HOPS_SHIFT, HOPS_MASK, DIRECTION_SHIFT, DIRECTION_MASK } = FlowAction
const { ENVELOPE, BYTES_SHIFT } = FlowAction
const { SOURCE_PORT_MASK, ADJACENCY_SHIFT } = Around
const { HOME_AND_KIND, ENDS_A, ENDS_B, ENDS_C, INGRESS, TTL } = Note

/** It is written by whole words, whose first two bytes lie in front of it. */
const ENVELOPE_ROOM_BYTES = 4 * envelope4.ENVELOPE_WORDS
/**
 * In a word of what was carried: frames in the upper byte, bytes below. A burst has BURST_RECEIVE_MAX
 * frames at most, and each 65,535 bytes and an envelope.
 */
const FRAMES_SHIFT = 24
const ONE_FRAME = 1 << FRAMES_SHIFT
const BYTES_MASK = ONE_FRAME - 1
export const carriedFrames = (word: number): number => word >>> FRAMES_SHIFT
export const carriedBytes = (word: number): number => word & BYTES_MASK
/** More than 64 bytes, see CLOCK_WORDS. */
export const CARRIED_WORDS = 32

export interface LaneMemory {
  readonly packet: PacketBuffer
  readonly burst: Burst
  /** Of the burst, by frame. */
  readonly notes: Int32Array
  readonly table: FlowTable
  readonly adjacencies: Int32Array
  readonly adjacencyPairs: BigInt64Array
  /** Indexes of the frames that the chain has to handle, in the burst's order. */
  readonly rest: Int32Array
  /** Of the burst: frames and bytes by metric direction, as ONE_FRAME has them. */
  readonly carried: Int32Array
}

export interface LanePasses {
  /** Loads the frames' headers. @returns the sum of what it loaded */
  touchFrames(count: number): number
  /** What flow is each frame of? */
  placeFrames(count: number): void
  /** Loads the flows' lines. @returns as `touchFrames` */
  touchFlows(count: number): number
  /** Repeats what is known. @returns how many frames are left for the chain */
  repeatFrames(count: number): number
}

export function lanePasses(memory: LaneMemory): LanePasses {
  return { ...touching(memory), placeFrames: placing(memory), repeatFrames: repeating(memory) }
}

function touching(memory: LaneMemory): Pick<LanePasses, 'touchFrames' | 'touchFlows'> {
  const { notes } = memory
  const { starts } = memory.burst
  const words = memory.packet.memoryWords
  const flows = memory.table.words
  return {
    /**
     * The kernel has just written the frames, on another core: a load of each header's line, with
     * nothing that waits for it, lets their misses overlap.
     */
    touchFrames(count) {
      let touched = 0
      for (let i = 0; i < count; i++) {
        touched = (touched + (words[(starts[i] as number) >> 2] as number)) | 0
      }
      return touched
    },

    /**
     * The table's lines, for the same reason. A loop of its own: a processor looks some hundred
     * instructions ahead, so the less stands between two loads, the more misses overlap.
     */
    touchFlows(count) {
      let touched = 0
      for (let i = 0; i < count; i++) {
        // The kind's bits only choose another word of the same line; Plain.NONE touches the first flow's.
        const word = notes[(i << NOTE_SHIFT) + HOME_AND_KIND] as number
        touched = (touched + (flows[word] as number)) | 0
      }
      return touched
    },
  }
}

function placing(memory: LaneMemory): LanePasses['placeFrames'] {
  const { notes } = memory
  const { starts, lengths, ports } = memory.burst
  const words = memory.packet.memoryWords
  const { homeOf } = memory.table.access
  return function placeFrames(count) {
    for (let i = 0; i < count; i++) {
      const start = starts[i] as number
      const note = (i << NOTE_SHIFT) + HOME_AND_KIND
      const kind = plain4.classify(words, start, lengths[i] as number)
      if (kind === NONE) {
        notes[note] = NONE
        continue
      }
      const at = start >> 2
      const a = plain4.endsA(words, at)
      const b = plain4.endsB(words, at)
      const c = plain4.endsC(words, at)
      const ingress = ((ports[i] as number) << 8) | plain4.protocol(words, at)
      notes[note] = homeOf(a, b, c, ingress) | kind
    }
  }
}

/** What is done with each frame; one of each, for both that repeat packets. */
interface Repeat {
  /** What flow is it of? NO_FLOW where none is known. @param homeAndKind of its note */
  flowOf(index: number, homeAndKind: number): number
  /** May what is known of a flow be done with this packet of it? */
  isFit(flow: number, start: number, index: number): boolean
  /** Rewrites a frame as the flow's last one was, and sends it the same way. */
  carry(flow: number, start: number, index: number): void
}

function repeating(memory: LaneMemory): LanePasses['repeatFrames'] {
  const { rest } = memory
  const repeat = { flowOf: finding(memory), isFit: fitting(memory), carry: carrying(memory) }
  const repeatUntil = repeatingSteady(memory, repeat)
  const lookAgain = lookingAgain(memory, repeat)
  return function repeatFrames(count) {
    let restCount = 0
    for (let i = repeatUntil(0, count); i < count; i = repeatUntil(i + 1, count)) {
      if (!lookAgain(i)) rest[restCount++] = i
    }
    return restCount
  }
}

/**
 * Repeats frames from `index` on, as long as nothing has to be asked, and so without a call: what V8 keeps
 * in registers it would have to put aside for one.
 *
 * @returns the first frame that it left, or `count`
 */
function repeatingSteady(
  memory: LaneMemory,
  { flowOf, isFit, carry }: Repeat,
): (index: number, count: number) => number {
  const { notes, table } = memory
  const { starts } = memory.burst
  const words = memory.packet.memoryWords
  const { isFresh } = table.access
  const flows = table.words
  return function repeatUntil(index, count) {
    const end = count | 0
    let i = index | 0
    for (; i < end; i = (i + 1) | 0) {
      const homeAndKind = notes[(i << NOTE_SHIFT) + HOME_AND_KIND] as number
      if ((homeAndKind & KIND_MASK) !== STEADY) return i
      const start = starts[i] as number
      const flow = flowOf(i, homeAndKind)
      if (flow === NO_FLOW || !isFresh(flow) || !isFit(flow, start, i)) return i
      if (plain4.isChecksumPartial(words, start >> 2, flows[flow + PSEUDO] as number)) return i
      carry(flow, start, i)
    }
    return i
  }
}

/** The same for one frame, with what has to be asked. @returns false where the frame is left for the chain */
function lookingAgain(
  memory: LaneMemory,
  { flowOf, isFit, carry }: Repeat,
): (index: number) => boolean {
  const { notes, packet, table } = memory
  const { starts, lengths, ports } = memory.burst
  const words = packet.memoryWords
  const { isFresh } = table.access
  const flows = table.words

  /** For the learner: when it asks, the chain has rewritten the frame. */
  const keepEnds = (index: number, at: number): void => {
    const note = index << NOTE_SHIFT
    notes[note + ENDS_A] = plain4.endsA(words, at)
    notes[note + ENDS_B] = plain4.endsB(words, at)
    notes[note + ENDS_C] = plain4.endsC(words, at)
    notes[note + INGRESS] = ((ports[index] as number) << 8) | plain4.protocol(words, at)
    notes[note + TTL] = plain4.ttl(words, at)
  }

  const completeChecksum = (at: number, bytes: number): void => {
    packet.attach(at << 2, bytes)
    completePartialChecksum(packet, plain4.L3_OFFSET, plain4.L4_OFFSET, plain4.protocol(words, at))
  }

  return function lookAgain(index) {
    const homeAndKind = notes[(index << NOTE_SHIFT) + HOME_AND_KIND] as number
    const kind = homeAndKind & KIND_MASK
    if (kind === NONE) return false
    const start = starts[index] as number
    const at = start >> 2
    const flow = flowOf(index, homeAndKind)
    if (flow !== NO_FLOW) {
      const isKnown = kind === STEADY && (isFresh(flow) || table.renew(flow))
      if (isKnown && isFit(flow, start, index)) {
        if (plain4.isChecksumPartial(words, at, flows[flow + PSEUDO] as number)) {
          completeChecksum(at, lengths[index] as number)
        }
        carry(flow, start, index)
        return true
      }
      // Nor may a later packet of this burst overtake what the chain now decides.
      table.forget(flow)
    }
    keepEnds(index, at)
    return false
  }
}

function finding(memory: LaneMemory): Repeat['flowOf'] {
  const { starts, ports } = memory.burst
  const words = memory.packet.memoryWords
  const { find } = memory.table.access
  return (index, homeAndKind) => {
    const at = (starts[index] as number) >> 2
    const ingress = ((ports[index] as number) << 8) | plain4.protocol(words, at)
    const a = plain4.endsA(words, at)
    const b = plain4.endsB(words, at)
    return find(homeAndKind & ~KIND_MASK, a, b, plain4.endsC(words, at), ingress)
  }
}

function fitting(memory: LaneMemory): Repeat['isFit'] {
  const words = memory.packet.memoryWords
  const { strideBytes } = memory.packet
  const { lengths } = memory.burst
  const flows = memory.table.words
  return (flow, start, index) => {
    const action = flows[flow + ACTION] as number
    // Whether a packet ends here is the chain's to know; more than these no flow's TTL goes down by.
    if (plain4.ttl(words, start >> 2) <= TTL_HOPS_MAX) return false
    if ((lengths[index] as number) > action >>> BYTES_SHIFT) return false
    return (action & ENVELOPE) === 0 || start % strideBytes >= ENVELOPE_ROOM_BYTES
  }
}

function carrying(memory: LaneMemory): Repeat['carry'] {
  const { packet, adjacencies, adjacencyPairs, carried } = memory
  const pairs = packet.memoryPairs
  const { starts, lengths, ports } = memory.burst
  const words = packet.memoryWords
  const flows = memory.table.words
  const { count } = memory.table.access

  return (flow, start, index) => {
    const at = start >> 2
    let bytes = lengths[index] as number
    count(flow, bytes)
    const action = flows[flow + ACTION] as number
    plain4.rewrite(
      words,
      at,
      flows[flow + NEW_ENDS_A] as number,
      flows[flow + NEW_ENDS_B] as number,
      flows[flow + NEW_ENDS_C] as number,
      (action >>> HOPS_SHIFT) & HOPS_MASK,
      flows[flow + DELTAS] as number,
    )
    const around = flows[flow + AROUND] as number
    const row = (around >>> ADJACENCY_SHIFT) << ROW_SHIFT
    pairs[at >> 1] = adjacencyPairs[row >> 1] as bigint
    words[at + 2] = adjacencies[row + 2] as number
    if ((action & ENVELOPE) !== 0) {
      envelope4.write(
        words,
        pairs,
        at,
        adjacencies,
        adjacencyPairs,
        row + MAC_WORDS,
        bytes,
        around & SOURCE_PORT_MASK,
      )
      bytes = (bytes + ENVELOPE_BYTES) | 0
      starts[index] = start - ENVELOPE_BYTES
      lengths[index] = bytes
    }
    ports[index] = action & PORT_MASK
    const direction = (action >>> DIRECTION_SHIFT) & DIRECTION_MASK
    carried[direction] = ((carried[direction] as number) + ONE_FRAME + bytes) | 0
  }
}
