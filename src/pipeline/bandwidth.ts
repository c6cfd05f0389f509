/**
 * Bandwidth of endpoints (Cilium's bandwidth manager, bpf/lib/edt.h): what a pod sends, and what it gets, is
 * held to a rate by a token bucket. A frame that finds too few tokens is dropped (162); none is
 * delayed. The bucket holds an eighth of a second's worth, so that a sender may be quiet and then
 * quick for a moment, and TCP finds its rate.
 *
 * Bytes are those of whole Ethernet frames. Cilium holds what leaves the node by pacing it, which
 * takes a queue of the kernel's that our frames never see.
 */
import type { TokenBuckets } from '../base/token-buckets.js'
import type { EndpointTable } from '../endpoint/endpoint-table.js'
import type { PacketContext } from './context.js'

const BYTES_PER_KILOBIT = 125
const BURST_SHARE_OF_SECOND = 1 / 8
/** Some ten full frames: below that not even a slow connection gets its first window through. */
const BURST_BYTES_MIN = 16_384

export class Bandwidth {
  readonly #endpoints: EndpointTable
  readonly #rateWord: number
  readonly #buckets: TokenBuckets

  /**
   * @param rateWord Endpoint.EGRESS_RATE or Endpoint.INGRESS_RATE
   * @param buckets of that direction
   */
  constructor(endpoints: EndpointTable, rateWord: number, buckets: TokenBuckets) {
    this.#endpoints = endpoints
    this.#rateWord = rateWord
    this.#buckets = buckets
  }

  /** Whether the frame is within the limit of the endpoint on `port`; then it counts. */
  admits(ctx: PacketContext, port: number): boolean {
    const rate = this.#endpoints.words[this.#endpoints.rowStart(port) + this.#rateWord] as number
    if (rate === 0) return true
    // Each frame is to be counted: nothing about it may be repeated for the next.
    ctx.isRepeatable = false
    const perSecond = rate * BYTES_PER_KILOBIT
    const burst = Math.max(perSecond * BURST_SHARE_OF_SECOND, BURST_BYTES_MIN)
    const { nowSeconds, nowNanoseconds, packet } = ctx
    return this.#buckets.take(port, perSecond, burst, nowSeconds, nowNanoseconds, packet.length)
  }
}
