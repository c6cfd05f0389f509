/**
 * What a thread allocates and collects within a window, though its loop never returns to the event
 * loop: the observer's entries of collections wait until it does, and carry their times.
 */
import { type PerformanceEntry, PerformanceObserver, performance } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'

export interface HeapReport {
  readonly collections: number
  /** Growth of the heap; what was allocated, when there was no collection. */
  readonly heapBytes: number
}

export class HeapWatch {
  readonly #observer: PerformanceObserver
  readonly #entries: PerformanceEntry[] = []
  #beginMilliseconds = 0
  #endMilliseconds = 0
  #heapAtBegin = 0
  #heapAtEnd = 0

  constructor() {
    this.#observer = new PerformanceObserver((list) => this.#entries.push(...list.getEntries()))
    this.#observer.observe({ entryTypes: ['gc'] })
  }

  begin(): void {
    this.#heapAtBegin = getHeapStatistics().used_heap_size
    this.#beginMilliseconds = performance.now()
  }

  end(): void {
    this.#endMilliseconds = performance.now()
    this.#heapAtEnd = getHeapStatistics().used_heap_size
  }

  /** After the loop; gives the waiting entries a turn of the event loop to arrive. */
  async report(): Promise<HeapReport> {
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    this.#entries.push(...this.#observer.takeRecords())
    this.#observer.disconnect()
    const within = this.#entries.filter(
      (entry) =>
        entry.startTime >= this.#beginMilliseconds && entry.startTime <= this.#endMilliseconds,
    )
    return { collections: within.length, heapBytes: this.#heapAtEnd - this.#heapAtBegin }
  }
}
