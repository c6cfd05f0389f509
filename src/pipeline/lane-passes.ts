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
import { Around, FlowAction } from './flow-action.js'
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
/** More than 64 bytes, see CLOCK_WORDS. */
export const CARRIED_WORDS = 32

export interface LaneMemory {
  readonly packet: PacketBuffer
  readonly burst: Burst
  /** Of the burst, by frame. */
  readonly notes: Int32Array
  readonly table: FlowTable
  readonly adjacencies: Int32Array
  /** Indexes of the frames that the chain has to handle, in the burst's order. */
  readonly rest: Int32Array
  /** Of the burst: frames and bytes by metric direction. */
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

function repeating(memory: LaneMemory): LanePasses['repeatFrames'] {
  const { notes, rest, table } = memory
  const { starts, ports } = memory.burst
  const words = memory.packet.memoryWords
  const { find } = table.access
  const mayRepeat = judging(memory)
  const repeat = carrying(memory)

  /** For the learner: when it asks, the chain has rewritten the frame. */
  const keepEnds = (note: number, at: number, ingress: number): void => {
    notes[note + ENDS_A] = plain4.endsA(words, at)
    notes[note + ENDS_B] = plain4.endsB(words, at)
    notes[note + ENDS_C] = plain4.endsC(words, at)
    notes[note + INGRESS] = ingress
    notes[note + TTL] = plain4.ttl(words, at)
  }

  return function repeatFrames(count) {
    let restCount = 0
    for (let i = 0; i < count; i++) {
      const note = i << NOTE_SHIFT
      const homeAndKind = notes[note + HOME_AND_KIND] as number
      const kind = homeAndKind & KIND_MASK
      if (kind !== NONE) {
        const start = starts[i] as number
        const at = start >> 2
        const ingress = ((ports[i] as number) << 8) | plain4.protocol(words, at)
        const a = plain4.endsA(words, at)
        const b = plain4.endsB(words, at)
        const flow = find(homeAndKind & ~KIND_MASK, a, b, plain4.endsC(words, at), ingress)
        if (flow !== NO_FLOW) {
          if (kind === STEADY && mayRepeat(flow, start)) {
            repeat(flow, start, i)
            continue
          }
          // Nor may a later packet of this burst overtake what the chain now decides.
          table.forget(flow)
        }
        keepEnds(note, at, ingress)
      }
      rest[restCount++] = i
    }
    return restCount
  }
}

function judging(memory: LaneMemory): (flow: number, start: number) => boolean {
  const words = memory.packet.memoryWords
  const { strideBytes } = memory.packet
  const { table } = memory
  const flows = table.words
  const { isFresh } = table.access
  return (flow, start) => {
    if (!isFresh(flow) && !table.renew(flow)) return false
    const at = start >> 2
    const action = flows[flow + ACTION] as number
    // At 1 a packet may end here even where the TTL is left as it is: the chain knows.
    const ttl = plain4.ttl(words, at)
    if (ttl <= 1 || ttl <= ((action >>> HOPS_SHIFT) & HOPS_MASK)) return false
    if (plain4.totalLength(words, at) > action >>> BYTES_SHIFT) return false
    if ((action & ENVELOPE) === 0) return true
    return start % strideBytes >= ENVELOPE_ROOM_BYTES
  }
}

/** Rewrites a frame as the flow's last one was, and sends it the same way. */
function carrying(memory: LaneMemory): (flow: number, start: number, index: number) => void {
  const { packet, adjacencies, carried } = memory
  const { starts, lengths, ports } = memory.burst
  const words = packet.memoryWords
  const flows = memory.table.words
  const { count } = memory.table.access

  const completeChecksum = (at: number, bytes: number): void => {
    packet.attach(at << 2, bytes)
    completePartialChecksum(packet, plain4.L3_OFFSET, plain4.L4_OFFSET, plain4.protocol(words, at))
  }

  return (flow, start, index) => {
    const at = start >> 2
    let bytes = lengths[index] as number
    if (plain4.isChecksumPartial(words, at, flows[flow + PSEUDO] as number)) {
      completeChecksum(at, bytes)
    }
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
    words[at] = adjacencies[row] as number
    words[at + 1] = adjacencies[row + 1] as number
    words[at + 2] = adjacencies[row + 2] as number
    if ((action & ENVELOPE) !== 0) {
      envelope4.write(words, at, adjacencies, row + MAC_WORDS, bytes, around & SOURCE_PORT_MASK)
      bytes += ENVELOPE_BYTES
      starts[index] = start - ENVELOPE_BYTES
      lengths[index] = bytes
    }
    ports[index] = action & PORT_MASK
    const counter = ((action >>> DIRECTION_SHIFT) & DIRECTION_MASK) << 1
    carried[counter] = (carried[counter] as number) + 1
    carried[counter + 1] = (carried[counter + 1] as number) + bytes
  }
}
