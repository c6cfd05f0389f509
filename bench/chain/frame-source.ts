/**
 * Memory in place of rings: each exchange checks that the last burst left by the port it should, and
 * hands over the next frames as their senders wrote them. Frames are few and stay hot, as with a
 * pool that gives out first what came back last; flows take turns, neighbours far apart.
 *
 * `refill` is what a benchmark costs besides the chain: it is measured alone and taken off.
 */
import { BURST_RECEIVE_MAX } from '../../src/base/limits.js'
import type { Burst } from '../../src/packet/burst.js'
import { FrameChains } from '../../src/packet/frame-chains.js'
import { FramePool } from '../../src/packet/frame-pool.js'
import type { FrameExchange, PortStatistics } from '../../src/port/port.js'
import * as checksums from '../../src/wire/checksum.js'
import { DESTINATION_PORT_FIRST, SOURCE_PORT_FIRST, SOURCE_PORTS } from '../lib/two-pods.js'

/** As bench/yardstick/chain-run.c. */
const FRAMES = 256
const STRIDE_BYTES = 2112
const HEADROOM_BYTES = 256
/** An odd multiplier, modulo the number of flows: neighbouring frames belong to distant flows. */
const FLOW_STEP = 7919
const SOURCE_PORT_BITS = Math.log2(SOURCE_PORTS)

/** Words of a frame as plain4.ts has them; what a chain writes lies in 0 to 2 and in 5 to 10. */
const DESTINATION_LOW = 8
const DESTINATION_PORT = 9
const CHECKSUM = 10
const HALF = 0xffff

const swap16 = (half: number): number => ((half & 0xff) << 8) | ((half >>> 8) & 0xff)

export class FrameSource implements FrameExchange {
  readonly umem = new SharedArrayBuffer(FRAMES * STRIDE_BYTES)
  readonly stride = STRIDE_BYTES
  readonly pool = FramePool.filled(0, STRIDE_BYTES)
  readonly chains = FrameChains.empty(0, STRIDE_BYTES)
  readonly portNames: readonly string[] = []
  readonly framesOnRings = 0
  readonly #words = new Int32Array(this.umem)
  readonly #pattern: Int32Array
  readonly #bytes: number
  readonly #ingress: number
  readonly #egress: number
  /** Of the transport without its ports, in the machine's order as all of this. */
  readonly #sum: number
  #firstFlow = 0
  #flows = 1
  #step = 0
  #flow = 0
  #frame = 0
  #seconds = 0
  #nanoseconds = 0
  #isFirst = true

  /**
   * @param frame of the first flow: UDP, whose ports and checksum are written anew
   * @param egress the port that every frame has to leave by
   */
  constructor(frame: Uint8Array, ingress: number, egress: number) {
    const padded = new Uint8Array((frame.length + 3) & ~3)
    padded.set(frame)
    this.#pattern = new Int32Array(padded.buffer)
    this.#bytes = frame.length
    this.#ingress = ingress
    this.#egress = egress
    for (let i = 0; i < FRAMES; i++) {
      new Uint8Array(this.umem).set(frame, i * STRIDE_BYTES + HEADROOM_BYTES)
    }
    this.#sum = transportSum(padded)
  }

  /** The flows that frames belong to from now on, in turn. */
  aim(firstFlow: number, flows: number): void {
    this.#firstFlow = firstFlow
    this.#flows = flows
    this.#step = FLOW_STEP % flows
    this.#flow = 0
  }

  setTime(milliseconds: number): void {
    this.#seconds = Math.trunc(milliseconds / 1000)
    this.#nanoseconds = Math.trunc((milliseconds % 1000) * 1e6)
  }

  exchange(burst: Burst): number {
    if (!this.#isFirst) this.#check(burst)
    this.#isFirst = false
    this.refill(burst)
    return BURST_RECEIVE_MAX
  }

  #check(burst: Burst): void {
    const { ports, count } = burst
    for (let i = 0; i < count; i++) {
      if (ports[i] !== this.#egress) throw new Error(`frame ${i} left by port ${ports[i]}`)
    }
  }

  refill(burst: Burst): void {
    const { starts, lengths, ports } = burst
    for (let i = 0; i < BURST_RECEIVE_MAX; i++) {
      const start = this.#frame * STRIDE_BYTES + HEADROOM_BYTES
      this.#write(start >> 2)
      starts[i] = start
      lengths[i] = this.#bytes
      ports[i] = this.#ingress
      this.#frame = (this.#frame + 1) & (FRAMES - 1)
    }
    burst.count = BURST_RECEIVE_MAX
    burst.setTime(this.#seconds, this.#nanoseconds)
  }

  #write(at: number): void {
    const words = this.#words
    const pattern = this.#pattern
    const flow = this.#firstFlow + this.#flow
    const next = this.#flow + this.#step
    this.#flow = next < this.#flows ? next : next - this.#flows
    const source = swap16(SOURCE_PORT_FIRST + (flow & (SOURCE_PORTS - 1)))
    const destination = swap16(DESTINATION_PORT_FIRST + (flow >>> SOURCE_PORT_BITS))
    const checksum = checksums.complement(this.#sum + source + destination)
    words[at] = pattern[0] as number
    words[at + 1] = pattern[1] as number
    words[at + 2] = pattern[2] as number
    words[at + 5] = pattern[5] as number
    words[at + 6] = pattern[6] as number
    words[at + 7] = pattern[7] as number
    words[at + DESTINATION_LOW] = ((pattern[DESTINATION_LOW] as number) & HALF) | (source << 16)
    words[at + DESTINATION_PORT] = ((pattern[DESTINATION_PORT] as number) & ~HALF) | destination
    words[at + CHECKSUM] = ((pattern[CHECKSUM] as number) & ~HALF) | checksum
  }

  wait(): boolean {
    return false
  }

  statistics(): PortStatistics {
    throw new Error('memory keeps no statistics')
  }

  close(): void {}
}

/** Pseudo header, length and data of a frame of UDP, in the machine's order. */
function transportSum(frame: Uint8Array): number {
  const halves = new Uint16Array(frame.buffer)
  const [l3, l4] = [14 >> 1, 34 >> 1]
  const bytes = swap16(halves[l4 + 2] as number)
  // Protocol, as the upper byte of a half in the machine's order; the length counts twice.
  let sum = ((frame[23] as number) << 8) + (halves[l4 + 2] as number)
  for (let i = l3 + 6; i < l3 + 10; i++) sum += halves[i] as number
  sum += halves[l4 + 2] as number
  for (let i = l4 + 4; i < l4 + ((bytes + 1) >> 1); i++) sum += halves[i] as number
  return checksums.fold(sum)
}
