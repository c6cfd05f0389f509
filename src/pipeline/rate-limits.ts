/**
 * The token buckets that all workers take from, in a map (`rate_limits`), so that a limit is one
 * limit however a pod's flows are spread over workers: bytes that a pod sends and gets, answers to
 * what a port brings.
 */
import { PORTS_MAX } from '../base/limits.js'
import { TokenBuckets } from '../base/token-buckets.js'
import type { ArrayMap } from '../maps/array-map.js'
import type { MapSpec } from '../maps/map.js'

const KINDS = 3
const BYTES = TokenBuckets.bytesFor(PORTS_MAX)

export const RATE_LIMITS_SPEC: MapSpec = {
  name: 'rate_limits',
  type: 'array',
  keyWords: 0,
  valueWords: TokenBuckets.bytesFor(1) / Int32Array.BYTES_PER_ELEMENT,
  maxEntries: KINDS * PORTS_MAX,
}

export class RateLimits {
  /** Each has a bucket for each port. */
  readonly egress: TokenBuckets
  readonly ingress: TokenBuckets
  readonly answers: TokenBuckets

  constructor(map: ArrayMap) {
    const { buffer, byteOffset } = map.words
    const start = byteOffset + map.valueStart(0) * Int32Array.BYTES_PER_ELEMENT
    this.egress = new TokenBuckets(PORTS_MAX, buffer, start)
    this.ingress = new TokenBuckets(PORTS_MAX, buffer, start + BYTES)
    this.answers = new TokenBuckets(PORTS_MAX, buffer, start + 2 * BYTES)
  }

  /** For the first worker, before any other begins: one that was killed may have held a lock. */
  unlock(): void {
    this.egress.unlock()
    this.ingress.unlock()
    this.answers.unlock()
  }
}
