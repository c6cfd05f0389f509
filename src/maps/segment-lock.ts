/**
 * Spin locks in shared memory, one row of four words for each part of a map that has one writer at
 * a time.
 *
 * The holder needs well under a microsecond. It may be killed inside, so a lock names its holder
 * (process and thread) and a number that grows with each acquisition. A waiter spins, then naps; it
 * takes the lock over at once when the holding process is gone, and after
 * `lockPatienceMilliseconds` without any movement when it cannot tell (another thread of this
 * process, a process that was stopped). A holder that wakes up after that finds at `release` that
 * the lock is no longer its own and must heal what it guards.
 *
 * What it does not do: fairness, and nesting (a thread that asks for a lock it holds waits for its
 * own patience).
 */
import { threadId } from 'node:worker_threads'
import type { MapOptions } from './map.js'
import { Header } from './map-header.js'
import { KEEPS_ORDER } from './processor.js'

/** Words of a row. All but OWNER are the holder's to write. */
export const LockRow = {
  OWNER: 0,
  /**
   * Grows by one with each acquisition; also a source of numbers that are unique under this lock.
   */
  SEQUENCE: 1,
  /** For the map: live entries under this lock. */
  LIVE: 2,
  /** For the map: deleted slots made since they were last cleared away. */
  GRAVES: 3,
} as const
export const LOCK_ROW_WORDS = 4

const FREE = 0
const SPINS = 2_000
const NAP_MILLISECONDS = 1
const PATIENCE_MILLISECONDS = 250
/** Linux process ids fit 22 bits; with 9 bits of thread the owner word stays a positive int32. */
const THREAD_BITS = 9

/**
 * Memory of this thread alone to sleep on: Atomics.wait refuses the external buffers that maps of
 * two processes share.
 */
const NAP = new Int32Array(new SharedArrayBuffer(4))

export class SegmentLocks {
  readonly #words: Int32Array
  /** A second view of them, for a store that must not be taken for one to the first. */
  readonly #again: Int32Array
  readonly #start: number
  readonly #owner: number
  readonly #isProcessAlive: (processId: number) => boolean
  readonly #patienceMilliseconds: number

  /** @param start index of the first row in `words` */
  constructor(words: Int32Array, start: number, options: MapOptions) {
    this.#words = words
    this.#again = new Int32Array(words.buffer, words.byteOffset, words.length)
    this.#start = start
    this.#owner = (process.pid << THREAD_BITS) | (threadId & ((1 << THREAD_BITS) - 1))
    this.#isProcessAlive = options.isProcessAlive ?? isProcessAlive
    this.#patienceMilliseconds = options.lockPatienceMilliseconds ?? PATIENCE_MILLISECONDS
  }

  /** Index in the words of a segment's row. */
  row(segment: number): number {
    return this.#start + segment * LOCK_ROW_WORDS
  }

  /**
   * True when the lock was taken over: what it guards may be half written, and the caller repairs
   * it.
   */
  acquire(segment: number): boolean {
    const at = this.row(segment)
    if (Atomics.compareExchange(this.#words, at, FREE, this.#owner) !== FREE) {
      return this.#acquireSlowly(at)
    }
    this.#count(at)
    return false
  }

  /**
   * False when somebody took the lock over meanwhile: the caller acquires it again and repairs what
   * it guards.
   *
   * A load and a store, where an exchange costs a call: if the lock is taken over between the two,
   * because the holder stood still just there, it is the other one whose release fails and who
   * repairs.
   */
  release(segment: number): boolean {
    const owner = this.#owner
    const at = this.row(segment)
    if (!KEEPS_ORDER) return Atomics.compareExchange(this.#words, at, owner, FREE) === owner
    if (this.#words[at] !== owner) return false
    this.#again[at] = FREE
    return true
  }

  #acquireSlowly(at: number): boolean {
    const words = this.#words
    for (let spins = 0; spins < SPINS; spins++) {
      if (Atomics.compareExchange(words, at, FREE, this.#owner) === FREE) {
        this.#count(at)
        return false
      }
    }
    let holder = FREE
    let sequence = 0
    let since = 0
    for (;;) {
      const found = Atomics.compareExchange(words, at, FREE, this.#owner)
      if (found === FREE) {
        this.#count(at)
        return false
      }
      const now = performance.now()
      const foundSequence = Atomics.load(words, at + LockRow.SEQUENCE)
      if (found !== holder || foundSequence !== sequence) {
        holder = found
        sequence = foundSequence
        since = now
      } else if (this.#mayTakeOver(holder, now - since) && this.#takeOver(at, holder)) {
        return true
      }
      Atomics.wait(NAP, 0, 0, NAP_MILLISECONDS)
    }
  }

  #mayTakeOver(holder: number, heldMilliseconds: number): boolean {
    if (heldMilliseconds >= this.#patienceMilliseconds) return true
    const processId = holder >>> THREAD_BITS
    return processId !== process.pid && !this.#isProcessAlive(processId)
  }

  #takeOver(at: number, holder: number): boolean {
    if (Atomics.compareExchange(this.#words, at, holder, this.#owner) !== holder) return false
    this.#count(at)
    Atomics.add(this.#words, Header.LOCKS_STOLEN, 1)
    return true
  }

  #count(at: number): void {
    const sequence = at + LockRow.SEQUENCE
    this.#words[sequence] = ((this.#words[sequence] as number) + 1) | 0
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
