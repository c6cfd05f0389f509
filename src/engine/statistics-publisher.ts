/**
 * Copies the ports' counters into shared memory about ten times a second, so that other processes
 * can read rates.
 */
import type { FrameExchange } from '../port/port.js'
import { PORT_STATISTICS_CELLS, writePortStatistics } from '../port/port-statistics.js'
import type { Housekeeping } from './burst-loop.js'

/**
 * A copy asks the kernel and makes garbage, and steps come a thousand times a second or more: the
 * time says when, not their number.
 */
const NANOSECONDS_PER_COPY = 100_000_000

export class StatisticsPublisher implements Housekeeping {
  readonly #exchange: FrameExchange
  readonly #row: Float64Array
  #copiedSecond = -1
  #copiedTenth = -1

  constructor(exchange: FrameExchange, row: Float64Array) {
    this.#exchange = exchange
    this.#row = row
  }

  step(nowSeconds: number, nowNanoseconds: number): void {
    const tenth = (nowNanoseconds / NANOSECONDS_PER_COPY) | 0
    if (tenth === this.#copiedTenth && nowSeconds === this.#copiedSecond) return
    this.#copiedSecond = nowSeconds
    this.#copiedTenth = tenth
    this.publish()
  }

  /** Copies now: before a stop, so that the last frames are told too. */
  publish(): void {
    const names = this.#exchange.portNames
    for (let port = 0; port < names.length; port++) {
      if (names[port] === undefined || names[port] === '') continue
      writePortStatistics(this.#row, port * PORT_STATISTICS_CELLS, this.#exchange.statistics(port))
    }
  }
}
