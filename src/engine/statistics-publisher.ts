/** Copies the ports' counters into shared memory about ten times a second, so that other processes can read rates. */
import type { FrameExchange } from '../port/port.js'
import { PORT_STATISTICS_CELLS, writePortStatistics } from '../port/port-statistics.js'
import type { Housekeeping } from './burst-loop.js'

/** Housekeeping steps per copy. */
const STEPS = 8

export class StatisticsPublisher implements Housekeeping {
  readonly #exchange: FrameExchange
  readonly #row: Float64Array
  #steps = 0

  constructor(exchange: FrameExchange, row: Float64Array) {
    this.#exchange = exchange
    this.#row = row
  }

  step(): void {
    if (this.#steps++ % STEPS !== 0) return
    const names = this.#exchange.portNames
    for (let port = 0; port < names.length; port++) {
      if (names[port] === undefined || names[port] === '') continue
      writePortStatistics(this.#row, port * PORT_STATISTICS_CELLS, this.#exchange.statistics(port))
    }
  }
}
