/**
 * Copies the ports' counters into shared memory four times a second, so that other processes
 * can read rates. Also those of ports whose device is gone, or never came: what is sent to them is
 * lost, and nobody else tells.
 */
import { PORTS_MAX } from '../base/limits.js'
import { isAttached, NO_MORE_PORTS, nextPort } from '../port/next-port.js'
import type { FrameExchange } from '../port/port.js'
import { PORT_STATISTICS_CELLS, writePortStatistics } from '../port/port-statistics.js'
import type { Housekeeping } from './burst-loop.js'

/** From the begin of one copy to that of the next. */
const NANOSECONDS_PER_COPY = 250_000_000

export class StatisticsPublisher implements Housekeeping {
  readonly #exchange: FrameExchange
  readonly #row: Float64Array
  #copiedSecond = -1
  #copiedQuarter = -1
  /** The port that is copied next. */
  #port = NO_MORE_PORTS

  constructor(exchange: FrameExchange, row: Float64Array) {
    this.#exchange = exchange
    this.#row = row
  }

  /** True in the middle of a copy. */
  get hasMore(): boolean {
    return this.#port !== NO_MORE_PORTS
  }

  /**
   * One port in a step: each asks the kernel, with code that has left the caches since the last
   * time (some 40 µs, in which frames wait).
   */
  step(nowSeconds: number, nowNanoseconds: number): void {
    if (!this.hasMore) {
      const quarter = (nowNanoseconds / NANOSECONDS_PER_COPY) | 0
      if (quarter === this.#copiedQuarter && nowSeconds === this.#copiedSecond) return
      this.#copiedSecond = nowSeconds
      this.#copiedQuarter = quarter
      this.#port = this.#next(0)
    }
    this.#copyNext()
  }

  /** Copies now: before a stop, so that the last frames are told too. */
  publish(): void {
    this.#port = this.#next(0)
    while (this.hasMore) this.#copyNext()
  }

  #copyNext(): void {
    const port = this.#port
    if (port === NO_MORE_PORTS) return
    writePortStatistics(this.#row, port * PORT_STATISTICS_CELLS, this.#exchange.statistics(port))
    this.#port = this.#next(port + 1)
  }

  #next(from: number): number {
    const exchange = this.#exchange
    const isTold = (port: number): boolean =>
      isAttached(exchange.portNames, port) || exchange.hasCounted?.(port) === true
    return nextPort(from, PORTS_MAX, isTold)
  }
}
