/**
 * Frames for a port that is not there (any more). A function of its own so that the training
 * (src/engine/training) runs it too: V8 would compile it while no frames come, as a loop that never
 * turns.
 */
import { PORTS_MAX } from '../base/limits.js'
import { type Burst, NO_PORT } from '../packet/burst.js'

/**
 * Gives such frames no port, so that they go back to the pool.
 *
 * @param queueCounts by port; 0: there is none to send on
 * @param undelivered counts them, by port
 */
export function dropUndeliverable(
  burst: Burst,
  queueCounts: Int32Array,
  undelivered: Float64Array,
): void {
  const ports = burst.ports
  const count = Math.min(burst.count, burst.capacity)
  for (let i = 0; i < count; i++) {
    const port = ports[i] as number
    // Numbers out of range stay, and stop the worker: the native exchange names the frame.
    if (port < 0 || port >= PORTS_MAX || queueCounts[port] !== 0) continue
    ports[i] = NO_PORT
    undelivered[port] = (undelivered[port] as number) + 1
  }
}
