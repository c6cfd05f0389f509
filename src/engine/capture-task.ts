/**
 * Begins and ends captures in a worker: looks, between bursts, at what a reader wishes (map
 * `capture`), opens the ring that he made, and gives the pipeline a tap on it. A reader that is
 * silent for three seconds is dead: the capture ends without him.
 */
import { join } from 'node:path'
import { SharedMemory } from 'xdp-socket-napi'
import type { ArrayMap } from '../maps/array-map.js'
import { EventRing } from '../maps/event-ring.js'
import {
  CAPTURE_SILENCE_SECONDS,
  CAPTURE_WORDS,
  CaptureWord,
  captureRingName,
} from '../monitor/capture.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import { PacketTap } from '../pipeline/packet-tap.js'
import type { Pipeline } from '../pipeline/pipeline.js'
import type { Housekeeping } from './burst-loop.js'

/**
 * Nobody closes it: that would detach a buffer, and V8 has compiled the packet path for a thread in
 * which no buffer ever was (docs/adr/0020). It is unmapped when it is collected.
 *
 * @throws when there is none: the reader has gone already
 */
export function openCaptureRing(directory: string, worker: number): EventRing {
  return EventRing.open(SharedMemory.open(join(directory, captureRingName(worker)), 0).buffer)
}

export class CaptureTask implements Housekeeping {
  readonly #map: ArrayMap
  readonly #at: number
  readonly #pipeline: Pipeline
  readonly #packet: PacketBuffer
  readonly #open: (worker: number) => EventRing
  readonly #worker: number
  readonly #log: (line: string) => void
  #session = 0

  constructor(
    map: ArrayMap,
    pipeline: Pipeline,
    packet: PacketBuffer,
    open: (worker: number) => EventRing,
    log: (line: string) => void,
    worker = 0,
  ) {
    this.#worker = worker
    this.#map = map
    this.#at = map.valueStart(0)
    this.#pipeline = pipeline
    this.#packet = packet
    this.#open = open
    this.#log = log
  }

  step(nowSeconds: number): void {
    const wanted = Atomics.load(this.#map.words, this.#at + CaptureWord.SESSION)
    if (wanted !== this.#session) this.#change(wanted)
    if (this.#session === 0) return
    const alive = Atomics.load(this.#map.words, this.#at + CaptureWord.ALIVE_SECONDS)
    if (((nowSeconds - alive) | 0) <= CAPTURE_SILENCE_SECONDS) return
    this.#log(`capture ${this.#session} ended: its reader is silent`)
    // Another reader may have begun at this moment: his wish stays.
    const { words, changes } = this.#map
    Atomics.compareExchange(words, this.#at + CaptureWord.SESSION, this.#session, 0)
    changes.mark()
    this.#end()
  }

  /** Before the worker ends. */
  close(): void {
    this.#end()
  }

  #change(wanted: number): void {
    this.#end()
    this.#session = wanted
    if (wanted === 0) return
    try {
      const ring = this.#open(this.#worker)
      const wish = this.#map.words.slice(this.#at, this.#at + CAPTURE_WORDS)
      this.#pipeline.tap = new PacketTap(wish, ring, this.#packet, this.#worker)
      Atomics.store(this.#map.words, this.#at + CaptureWord.TAKEN_UP + this.#worker, wanted)
    } catch (error) {
      this.#log(`capture ${wanted} not begun: ${String(error)}`)
    }
  }

  #end(): void {
    this.#session = 0
    this.#pipeline.tap = null
  }
}
