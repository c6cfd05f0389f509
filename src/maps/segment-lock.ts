/**
 * Spin locks in shared memory, one word each: 0 free, otherwise the process that holds it. A holder needs less than a microsecond;
 * a lock that stays held is looked into after a while, and taken over when its process is gone (killed inside an update).
 */
import type { MapOptions } from './map.js'
import { Header } from './map-header.js'

const FREE = 0
const SPINS_BEFORE_LOOK = 100_000
const PATIENCE_MILLISECONDS = 250

export class SegmentLock {
  readonly #words: Int32Array
  readonly #start: number
  readonly #isProcessAlive: (processId: number) => boolean
  readonly #patienceMilliseconds: number

  constructor(words: Int32Array, start: number, options: MapOptions) {
    this.#words = words
    this.#start = start
    this.#isProcessAlive = options.isProcessAlive ?? isProcessAlive
    this.#patienceMilliseconds = options.lockPatienceMilliseconds ?? PATIENCE_MILLISECONDS
  }

  /** True when the lock was taken over from a holder that died: what it guards may be half written. */
  acquire(index: number): boolean {
    const at = this.#start + index
    for (let spins = 0; spins < SPINS_BEFORE_LOOK; spins++) {
      if (Atomics.compareExchange(this.#words, at, FREE, process.pid) === FREE) return false
    }
    return this.#acquireSlowly(at)
  }

  release(index: number): void {
    Atomics.store(this.#words, this.#start + index, FREE)
  }

  #acquireSlowly(at: number): boolean {
    const words = this.#words
    let holder = Atomics.load(words, at)
    let since = Date.now()
    for (;;) {
      const found = Atomics.compareExchange(words, at, FREE, process.pid)
      if (found === FREE) return false
      if (found !== holder) {
        holder = found
        since = Date.now()
      } else if (Date.now() - since > this.#patienceMilliseconds) {
        if (!this.#isProcessAlive(holder) && this.#takeOver(at, holder)) return true
        since = Date.now()
      }
    }
  }

  #takeOver(at: number, holder: number): boolean {
    if (Atomics.compareExchange(this.#words, at, holder, process.pid) !== holder) return false
    Atomics.add(this.#words, Header.LOCKS_STOLEN, 1)
    return true
  }
}

function isProcessAlive(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
