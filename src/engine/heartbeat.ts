/**
 * The workers' signs of life, in a file of the state directory: a count for each that goes up with
 * each of its turns in the housekeeping, at least ten times a second, and the thread that counts. Whoever
 * watches can tell a worker that hangs from one that waits for a processor
 * (src/daemon/stall-watch.ts).
 */
import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { SharedMemory } from 'xdp-socket-napi'

const FILE_NAME = 'heartbeat'
const BYTES = 4096
/** Words of a worker. */
const ROW_WORDS = 2
const BEATS = 0
const THREAD = 1

export class Heartbeat {
  readonly #words: Int32Array
  readonly #row: number
  #thread = 0

  constructor(stateDirectory: string, worker: number) {
    this.#words = openWords(stateDirectory)
    this.#row = worker * ROW_WORDS
  }

  /** From now on somebody may be watching: called by the worker's own thread. */
  begin(): void {
    // <pid>/task/<tid>
    this.#thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
    Atomics.store(this.#words, this.#row + THREAD, this.#thread)
  }

  step(): void {
    Atomics.add(this.#words, this.#row + BEATS, 1)
  }

  /** It stops in good order; another process may have begun in its place. */
  end(): void {
    Atomics.compareExchange(this.#words, this.#row + THREAD, this.#thread, 0)
  }
}

export interface Beat {
  readonly thread: number
  readonly beats: number
}

/** Reads the rows of workers that have begun and not ended. */
export class HeartbeatReader {
  readonly #words: Int32Array

  constructor(stateDirectory: string) {
    this.#words = openWords(stateDirectory)
  }

  read(): Beat[] {
    const found: Beat[] = []
    for (let row = 0; row < this.#words.length; row += ROW_WORDS) {
      const thread = Atomics.load(this.#words, row + THREAD)
      if (thread === 0) continue
      found.push({ thread, beats: Atomics.load(this.#words, row + BEATS) })
    }
    return found
  }
}

const openWords = (stateDirectory: string): Int32Array =>
  new Int32Array(SharedMemory.open(join(stateDirectory, FILE_NAME), BYTES, { create: true }).buffer)
