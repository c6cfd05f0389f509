/**
 * The reader's end of a capture: makes a ring for each worker, tells the datapath what is wanted, and takes the
 * records. One capture at a time; when its reader is silent for three seconds, the datapath ends it.
 */
import { randomInt } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { monotonicTime, SharedMemory } from 'xdp-socket-napi'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { EventRing } from '../maps/event-ring.js'
import type { MapSpec } from '../maps/map.js'
import {
  CAPTURE_SILENCE_SECONDS,
  CapturePoint,
  CaptureRecord,
  CaptureWord,
  captureRingSpec,
} from '../monitor/capture.js'
import { EventRings } from '../monitor/event-rings.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'

const MEBIBYTE = 1024 * 1024
const BUFFER_MEBIBYTES = 16
const RECORDS_MIN = 64
const SIGN_MILLISECONDS = 500

export class CaptureSession {
  readonly #maps: DatapathMaps
  readonly #at: number
  readonly #session = randomInt(1, 2 ** 31)
  readonly #files: RingFile[] = []
  readonly #rings: EventRings
  readonly #record: Int32Array
  readonly #timer: NodeJS.Timeout
  #lostBefore = 0
  #isEnded = false
  /** Records taken. */
  taken = 0
  /** Records lost because the ring was full. */
  lost = 0

  /**
   * @param wish as captureWish makes it
   * @param bufferMebibytes of the ring
   * @throws RingpathError CAPTURE_RUNNING when a capture is on
   */
  constructor(
    directory: string,
    maps: DatapathMaps,
    wish: Int32Array,
    bufferMebibytes = BUFFER_MEBIBYTES,
  ) {
    this.#maps = maps
    this.#at = maps.capture.valueStart(0)
    if (isCaptureOn(maps)) {
      const text = 'a capture is on already, and there is one at a time: `ringpath capture --stop`'
      throw new RingpathError(ErrorCode.CAPTURE_RUNNING, text)
    }
    const snapBytes = wish[CaptureWord.SNAP_BYTES] as number
    const recordBytes = captureRingSpec(snapBytes, 1).valueWords * 4 + 4
    const share = (bufferMebibytes * MEBIBYTE) / maps.workers
    const records = 2 ** Math.floor(Math.log2(Math.max(share / recordBytes, RECORDS_MIN)))
    for (let worker = 0; worker < maps.workers; worker++) {
      this.#files.push(ringFile(directory, captureRingSpec(snapBytes, records, worker)))
    }
    this.#rings = new EventRings(this.#files.map(({ ring }) => ring))
    this.#record = new Int32Array(captureRingSpec(snapBytes, records).valueWords)
    this.#store(wish)
    this.#timer = setInterval(() => this.#signAlive(), SIGN_MILLISECONDS)
    this.#timer.unref()
  }

  /** False when it was ended: by us, by somebody else, by the datapath. */
  get isOn(): boolean {
    return !this.#isEnded && this.#word(CaptureWord.SESSION) === this.#session
  }

  /** Workers that capture: a sleeping one takes up to a tenth of a second to hear of it. */
  get takenUpBy(): number {
    let count = 0
    for (let worker = 0; worker < this.#maps.workers; worker++) {
      if (this.#word(CaptureWord.TAKEN_UP + worker) === this.#session) count++
    }
    return count
  }

  /**
   * Takes what waits, at most `limit` records; returns how many there were.
   *
   * @param visit words as CaptureRecord has them, overwritten by the next; and how many were lost just before
   */
  read(limit: number, visit: (record: Int32Array, lostBefore: number) => void): number {
    if (this.#isEnded) return 0
    let count = 0
    while (count < limit && this.#rings.read(this.#record)) {
      count++
      this.#lostBefore += this.#rings.lostBefore
      if (this.#record[CaptureRecord.POINT] === CapturePoint.VOID) continue
      this.taken++
      visit(this.#record, this.#lostBefore)
      this.#lostBefore = 0
    }
    this.lost = this.#rings.lost >>> 0
    return count
  }

  /** What waits can still be read until `close`. */
  stop(): void {
    endCapture(this.#maps, this.#session)
  }

  close(): void {
    if (this.#isEnded) return
    this.stop()
    this.#isEnded = true
    clearInterval(this.#timer)
    for (const file of this.#files) file.close()
  }

  #store(wish: Int32Array): void {
    const { words, changes } = this.#maps.capture
    this.#signAlive()
    for (let i: number = CaptureWord.SNAP_BYTES; i < CaptureWord.TAKEN_UP; i++) {
      words[this.#at + i] = wish[i] ?? 0
    }
    Atomics.store(words, this.#at + CaptureWord.SESSION, this.#session)
    changes.mark()
  }

  #signAlive(): void {
    const { words } = this.#maps.capture
    Atomics.store(words, this.#at + CaptureWord.ALIVE_SECONDS, monotonicTime().seconds)
  }

  #word(word: number): number {
    return Atomics.load(this.#maps.capture.words, this.#at + word)
  }
}

interface RingFile {
  readonly ring: EventRing
  close(): void
}

function ringFile(directory: string, spec: MapSpec): RingFile {
  const path = join(directory, spec.name)
  // Of a reader that was killed; a datapath may still have it mapped.
  rmSync(path, { force: true })
  const memory = SharedMemory.open(path, EventRing.bytesFor(spec), { create: true })
  const close = (): void => {
    memory.close()
    rmSync(path, { force: true })
  }
  return { ring: EventRing.create(spec, memory.buffer), close }
}

const wordOf = ({ capture }: DatapathMaps, word: number): number =>
  Atomics.load(capture.words, capture.valueStart(0) + word)

/** Somebody captures, and is alive. */
export function isCaptureOn(maps: DatapathMaps): boolean {
  if (wordOf(maps, CaptureWord.SESSION) === 0) return false
  const silence = monotonicTime().seconds - wordOf(maps, CaptureWord.ALIVE_SECONDS)
  return silence <= CAPTURE_SILENCE_SECONDS
}

/** Ends a capture, whoever began it; false when it is not on. @param session that of now */
export function endCapture(
  maps: DatapathMaps,
  session = wordOf(maps, CaptureWord.SESSION),
): boolean {
  const { words, changes } = maps.capture
  const at = maps.capture.valueStart(0) + CaptureWord.SESSION
  if (session === 0 || Atomics.compareExchange(words, at, session, 0) !== session) return false
  changes.mark()
  return true
}
