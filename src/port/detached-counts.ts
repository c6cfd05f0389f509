/**
 * What is counted of ports that are not attached: the frames that stages send to them all the same,
 * and what a port had counted when its device went. Numbers, so that an operator sees the loss.
 */
import { PORTS_MAX } from '../base/limits.js'
import { NOTHING_COUNTED, type PortStatistics } from './port.js'

export class DetachedCounts {
  /** By port: frames that this worker had no queue for. */
  readonly undelivered = new Float64Array(PORTS_MAX)
  readonly #last: PortStatistics[] = []

  /** Counters begin at the attachment. */
  begin(port: number): void {
    this.undelivered[port] = 0
  }

  /** @param statistics of the port, which includes what was undelivered */
  end(port: number, statistics: PortStatistics): void {
    this.#last[port] = statistics
    this.undelivered[port] = 0
  }

  /** Something is known of the port, which may never have been attached. */
  has(port: number): boolean {
    return this.#last[port] !== undefined || (this.undelivered[port] ?? 0) > 0
  }

  statistics(port: number): PortStatistics {
    const last = this.#last[port] ?? NOTHING_COUNTED
    return { ...last, sendDropped: last.sendDropped + (this.undelivered[port] ?? 0) }
  }
}
