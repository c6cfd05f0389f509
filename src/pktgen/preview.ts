/** The first frames of a plan without sending any: as text, or as a capture file. */

import { PacketBuffer } from '../packet/packet-buffer.js'
import { LINK_TYPE_ETHERNET } from '../port/pcap/capture.js'
import { createCapture } from '../port/pcap/open-capture.js'
import { decodeFrame } from './decode.js'
import { FrameWriter } from './frame-writer.js'
import type { TrafficPlan } from './plan.js'

const FRAME_ROOM = 2048

interface PlannedFrame {
  readonly packet: PacketBuffer
  /** Since the first; all 0 when as fast as possible. */
  readonly nanoseconds: number
}

/** The packet is the same object for each. */
function* framesOf(plan: TrafficPlan, count: number): Generator<PlannedFrame> {
  const memory = new ArrayBuffer(FRAME_ROOM)
  const packet = new PacketBuffer(memory, FRAME_ROOM)
  const writer = new FrameWriter(plan)
  let nanoseconds = 0
  for (let i = 0; i < count; i++) {
    const { interval } = writer.next
    new Uint8Array(memory).fill(0)
    packet.attach(0, 0)
    writer.write(packet, 0, 0)
    yield { packet, nanoseconds }
    nanoseconds += interval
  }
}

/** Lines; the tag's time of sending is not in them, for nothing is sent. */
export function printedFrames(plan: TrafficPlan, count: number): readonly string[] {
  const lines: string[] = []
  for (const { packet, nanoseconds } of framesOf(plan, count)) {
    lines.push(`${(nanoseconds / 1e3).toFixed(1).padStart(12)} us  ${decodeFrame(packet)}`)
  }
  return lines
}

/** Writes them with the times that the rate means, from `begin` on (nanoseconds since 1970). */
export function writeCapture(path: string, plan: TrafficPlan, count: number, begin: bigint): void {
  const writer = createCapture(path)
  const snapLength = FRAME_ROOM
  writer.addInterface({ name: 'pktgen', linkType: LINK_TYPE_ETHERNET, snapLength })
  for (const { packet, nanoseconds } of framesOf(plan, count)) {
    const bytes = Uint8Array.from({ length: packet.length }, (_, at) => packet.u8(at))
    writer.write(0, begin + BigInt(Math.round(nanoseconds)), bytes)
  }
  writer.close()
}
