/**
 * Tells how a worker fares: what it did with its time (from the stamps that bursts have anyway), and
 * now and then its heap, its garbage collections, and the rings of its ports. Frames wait meanwhile,
 * so that one step does a part of it.
 *
 * Collections come from V8's own profiler of them, which is asked: a PerformanceObserver would need turns of
 * the event loop, and a worker has none.
 */
import { GCProfiler, getHeapStatistics } from 'node:v8'
import { RING_CELLS, RingCell, WorkerCell } from '../monitor/worker-statistics.js'
import { isAttached, NO_MORE_PORTS, nextPort } from '../port/next-port.js'
import type { FrameExchange } from '../port/port.js'
import type { Housekeeping } from './burst-loop.js'

const SECONDS_PER_NANOSECOND = 1e-9
const SECONDS_PER_MICROSECOND = 1e-6
const MINOR = 'Scavenge'
/** Between two looks at the heap, which take some 30 µs. */
const HEAP_SECONDS = 4
/**
 * The profiler takes 80: it is asked after a collection, which leaves the heap smaller, and so often at
 * least.
 */
const COLLECTIONS_SECONDS = 16
const NEVER = Number.NEGATIVE_INFINITY

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
  readonly #shared: MeteredRows
  readonly #counts: () => MeteredCounts
  readonly #collector = new GCProfiler()
  readonly #times = new Float64Array(3)
  readonly #collections = new Float64Array(4)
  #state: number = WorkerState.BUSY
  #seconds = -1
  #nanoseconds = 0
  #toldSecond = NEVER
  #heapSecond = NEVER
  #collectionsSecond = NEVER
  #hasTold = false
  /** The port whose rings are told next. */
  #port = NO_MORE_PORTS

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

  /** True while there are rings to be told. */
  get hasMore(): boolean {
    return this.#port !== NO_MORE_PORTS
  }

  step(nowSeconds: number): void {
    if (nowSeconds !== this.#toldSecond) {
      this.#toldSecond = nowSeconds
      this.#tell(nowSeconds)
    } else if (this.hasMore) {
      this.#tellNextRings()
    }
  }

  /** Tells all of it now. */
  publish(): void {
    this.#heapSecond = NEVER
    this.#collectionsSecond = NEVER
    this.#tell(this.#toldSecond)
    while (this.hasMore) this.#tellNextRings()
  }

  #tell(nowSeconds: number): void {
    if (!this.#hasTold) this.#shared.rings.fill(0)
    this.#hasTold = true
    const cells = this.#cells
    if (nowSeconds >= this.#heapSecond + HEAP_SECONDS) this.#lookAtHeap(nowSeconds)
    const { frames, bursts, repeated, sleeps } = this.#counts()
    cells[WorkerCell.FRAMES] = frames
    cells[WorkerCell.BURSTS] = bursts
    cells[WorkerCell.REPEATED] = repeated
    cells[WorkerCell.SLEEPS] = sleeps
    cells.set(this.#times, WorkerCell.STATES)
    cells.set(this.#collections, WorkerCell.COLLECTIONS)
    this.#shared.cells.set(cells)
    this.#port = this.#nextAttached(0)
  }

  #lookAtHeap(nowSeconds: number): void {
    const { used_heap_size: used, total_heap_size: total } = getHeapStatistics()
    const isSmaller = used < (this.#cells[WorkerCell.HEAP_USED] as number)
    this.#heapSecond = nowSeconds
    this.#cells[WorkerCell.HEAP_USED] = used
    this.#cells[WorkerCell.HEAP_TOTAL] = total
    if (!isSmaller && nowSeconds < this.#collectionsSecond + COLLECTIONS_SECONDS) return
    this.#collectionsSecond = nowSeconds
    this.#takeCollections()
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

  #nextAttached(from: number): number {
    const { portNames } = this.#exchange
    return nextPort(from, portNames.length, (port) => isAttached(portNames, port))
  }

  #tellNextRings(): void {
    const port = this.#port
    const state = this.#exchange.rings?.(port)
    this.#port = this.#nextAttached(port + 1)
    if (state === undefined) return
    const { rings } = this.#shared
    const at = port * RING_CELLS
    rings[at + RingCell.FRAMES_RECEIVING] = state.framesReceiving
    rings[at + RingCell.FRAMES_SENDING] = state.framesSending
    rings[at + RingCell.KICKS] = state.kicks
    rings[at + RingCell.KICK_ERRORS] = state.kickErrors
    rings[at + RingCell.FILL_RING_EMPTY] = state.fillRingEmpty
  }
}
