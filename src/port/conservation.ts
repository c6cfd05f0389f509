/**
 * The one sum that holds at every moment: a frame is free, in the caller's burst, on a ring, or behind
 * the first buffer of a packet in the burst.
 */
import { assert } from '../base/assert.js'
import type { Burst } from '../packet/burst.js'
import type { FrameExchange } from './port.js'

/**
 * Throws InvariantError when a frame was lost or freed twice. To be asked of the outermost exchange
 * (a wrapper counts the frames that it delays itself), between two exchanges, by whoever holds no
 * frame outside `burst`.
 */
export function assertConserved(exchange: FrameExchange, burst: Burst): void {
  const free = exchange.pool.freeCount
  const onRings = exchange.framesOnRings
  const tails = exchange.chains.tailFrames
  const total = exchange.pool.frameCount
  assert(
    free + burst.count + tails + onRings === total,
    `a frame was lost or freed twice: ${free} free + ${burst.count} in the burst + ` +
      `${onRings} on rings${tails === 0 ? '' : ` + ${tails} behind those`} is not ${total}`,
  )
}
