/**
 * Tells how a worker fares: what it did with its time (from the stamps that bursts have anyway), and
 * once a second its heap, its garbage collections, and the rings of its ports.
 *
 * Collections come from V8's own profiler of them, which is asked: a PerformanceObserver would need turns of
 * the event loop, and a worker has none.
 */
import { GCProfiler, getHeapStatistics } from 'node:v8'
import { RING_CELLS, RingCell, WorkerCell } from '../monitor/worker-statistics.js'
import type { FrameExchange } from '../port/port.js'
import type { Housekeeping } from './burst-loop.js'

const SECONDS_PER_NANOSECOND = 1e-9
const SECONDS_PER_MICROSECOND = 1e-6
const MINOR = 'Scavenge'

/** Index in WORKER_STATES. */
export const WorkerState = { BUSY: 0, SPINNING: 1, ASLEEP: 2 } as const

/** What is counted elsewhere. */
export interface MeteredCounts {
  readonly frames: number
  readonly bursts: number
  readonly repeated: number
  readonly sleeps: number
}

/** Rows of `worker_statistics` and `port_rings`; what another process left there is replaced. */
export interface MeteredRows {
  readonly cells: Float64Array
  readonly rings: Float64Array
}

export class WorkerMeter implements Housekeeping {
  readonly #exchange: FrameExchange
  readonly #cells: Float64Array
  readonly #rings: Float64Array
  readonly #shared: MeteredRows
  readonly #counts: () => MeteredCounts
  readonly #collector = new GCProfiler()
  readonly #times = new Float64Array(3)
  readonly #collections = new Float64Array(4)
  #state: number = WorkerState.BUSY
  #seconds = -1
  #nanoseconds = 0
  #toldSecond = -1

  /**
   * @param cells this worker's own, of which stages keep theirs
   * @param shared where all of it is told
   */
  constructor(
    exchange: FrameExchange,
    cells: Float64Array,
    shared: MeteredRows,
    counts: () => MeteredCounts,
  ) {
    this.#exchange = exchange
    this.#cells = cells
    this.#rings = new Float64Array(shared.rings.length)
    this.#shared = shared
    this.#counts = counts
    this.#collector.start()
  }

  /** A burst was taken at this time: what went before was spent in the state set last. */
  stamped(seconds: number, nanoseconds: number): void {
    if (this.#seconds >= 0) {
      const spent =
        seconds - this.#seconds + (nanoseconds - this.#nanoseconds) * SECONDS_PER_NANOSECOND
      this.#times[this.#state] = (this.#times[this.#state] as number) + spent
    }
    this.#seconds = seconds
    this.#nanoseconds = nanoseconds
  }

  /** From the stamp before on. @param state a WorkerState */
  set state(state: number) {
    this.#state = state
  }

  step(nowSeconds: number): void {
    if (nowSeconds === this.#toldSecond) return
    this.#toldSecond = nowSeconds
    this.publish()
  }

  /** Tells now. */
  publish(): void {
    this.#takeCollections()
    const cells = this.#cells
    const { frames, bursts, repeated, sleeps } = this.#counts()
    cells[WorkerCell.FRAMES] = frames
    cells[WorkerCell.BURSTS] = bursts
    cells[WorkerCell.REPEATED] = repeated
    cells[WorkerCell.SLEEPS] = sleeps
    cells.set(this.#times, WorkerCell.STATES)
    cells.set(this.#collections, WorkerCell.COLLECTIONS)
    const heap = getHeapStatistics()
    cells[WorkerCell.HEAP_USED] = heap.used_heap_size
    cells[WorkerCell.HEAP_TOTAL] = heap.total_heap_size
    this.#tellRings()
    this.#shared.cells.set(cells)
    this.#shared.rings.set(this.#rings)
  }

  #takeCollections(): void {
    const { statistics = [] } = this.#collector.stop() ?? {}
    this.#collector.start()
    for (const { gcType, cost } of statistics) {
      const at = gcType === MINOR ? 0 : 2
      this.#collections[at] = (this.#collections[at] as number) + 1
      this.#collections[at + 1] =
        (this.#collections[at + 1] as number) + cost * SECONDS_PER_MICROSECOND
    }
  }

  #tellRings(): void {
    const { portNames } = this.#exchange
    for (let port = 0; port < portNames.length; port++) {
      if (portNames[port] === undefined || portNames[port] === '') continue
      const state = this.#exchange.rings?.(port)
      if (state === undefined) continue
      const at = port * RING_CELLS
      const rings = this.#rings
      rings[at + RingCell.FRAMES_RECEIVING] = state.framesReceiving
      rings[at + RingCell.FRAMES_SENDING] = state.framesSending
      rings[at + RingCell.KICKS] = state.kicks
      rings[at + RingCell.KICK_ERRORS] = state.kickErrors
      rings[at + RingCell.FILL_RING_EMPTY] = state.fillRingEmpty
    }
  }
}
