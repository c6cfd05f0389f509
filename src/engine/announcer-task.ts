/** The announcer as a task of the datapath's main thread, once a second. */
import { monotonicTime, sendFrame } from 'xdp-socket-napi'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { Announcer } from './announcer.js'

const STEP_MILLISECONDS = 1000

export class AnnouncerTask {
  readonly #announcer: Announcer
  readonly #log: (line: string) => void
  readonly #timer: NodeJS.Timeout
  #lastTrouble = ''

  constructor(maps: DatapathMaps, log: (line: string) => void) {
    this.#announcer = new Announcer(maps, process.pid, sendFrame)
    this.#log = log
    this.#timer = setInterval(() => this.#step(), STEP_MILLISECONDS)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #step(): void {
    try {
      this.#announcer.step(monotonicTime().seconds)
    } catch (error) {
      // The same trouble once a second is told once.
      const trouble = error instanceof Error ? error.message : String(error)
      if (trouble !== this.#lastTrouble) this.#log(`announcements: ${trouble}`)
      this.#lastTrouble = trouble
    }
  }
}
