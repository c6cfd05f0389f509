/**
 * Captures for clients of the API: one at a time, streamed as pcapng, ended by its count, its time, a
 * client that goes away, or anybody's wish.
 */

import { CaptureFile } from '../observe/capture-file.js'
import type { CaptureRequest } from '../observe/capture-request.js'
import { captureWish } from '../observe/capture-request.js'
import { CaptureSession, endCapture, isCaptureOn } from '../observe/capture-session.js'
import type { NodeView } from '../observe/node-view.js'

export interface CaptureLimits {
  /** End after so many frames. */
  readonly count?: number
  /** End after so many seconds. */
  readonly seconds?: number
}

export interface CaptureStatus {
  readonly isOn: boolean
  /** Frames taken, by the capture that is on or the last one of this process. */
  readonly frames: number
  /** Frames for which the ring had no room. */
  readonly lost: number
  readonly endedBy?: 'count' | 'time' | 'client' | 'request'
}

const POLL_MILLISECONDS = 20
const RECORDS_PER_TURN = 500
/** After the first worker all others have heard of it, too. */
const WORKERS_MILLISECONDS = 150

export class CaptureService {
  readonly #view: NodeView
  #last: CaptureStatus = { isOn: false, frames: 0, lost: 0 }

  constructor(view: NodeView) {
    this.#view = view
  }

  get status(): CaptureStatus {
    return { ...this.#last, isOn: isCaptureOn(this.#view.maps) }
  }

  /** False when none was on. */
  stop(): boolean {
    return endCapture(this.#view.maps)
  }

  /**
   * Begins at once; the bytes follow.
   *
   * @throws RingpathError CONFIG_INVALID, CAPTURE_RUNNING
   */
  begin(request: CaptureRequest & CaptureLimits, closed: AbortSignal): AsyncGenerator<Uint8Array> {
    const { directory, maps } = this.#view
    const wish = captureWish(request, this.#view.endpoints())
    const session = new CaptureSession(directory, maps, wish, request.bufferMebibytes)
    this.#last = { isOn: true, frames: 0, lost: 0 }
    // A client that is gone before its first byte never has the generator run to its end.
    closed.addEventListener('abort', () => session.close())
    return this.#chunks(session, request, closed)
  }

  async *#chunks(
    session: CaptureSession,
    limits: CaptureLimits,
    closed: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const waiting: Uint8Array[] = []
    const take = (bytes: Uint8Array): void => void waiting.push(bytes)
    const file = new CaptureFile(take, this.#view.maps, () => this.#view.names)
    const { count = Number.POSITIVE_INFINITY, seconds = Number.POSITIVE_INFINITY } = limits
    const deadline = performance.now() + seconds * 1_000
    let endedBy: CaptureStatus['endedBy'] = 'client'
    try {
      while (session.takenUpBy === 0 && endOf(session, deadline, closed) === undefined) {
        await sleep(POLL_MILLISECONDS)
      }
      // There may be fewer workers than the maps have room for.
      if (session.takenUpBy < this.#view.maps.workers) await sleep(WORKERS_MILLISECONDS)
      for (;;) {
        const reason = endOf(session, deadline, closed)
        if (reason !== undefined) session.stop()
        const limit = Math.min(RECORDS_PER_TURN, count - session.taken)
        const read = session.read(limit, (record, lost) => file.add(record, lost))
        file.flush()
        this.#last = { isOn: true, frames: session.taken, lost: session.lost }
        yield* waiting.splice(0)
        if (session.taken >= count) endedBy = 'count'
        else if (read === limit && reason !== 'client') continue
        // What waited when it ended belongs to it.
        else if (reason !== undefined) endedBy = reason
        else {
          await sleep(POLL_MILLISECONDS)
          continue
        }
        break
      }
    } finally {
      session.close()
      this.#last = { ...this.#last, isOn: false, endedBy }
    }
  }
}

function endOf(
  session: CaptureSession,
  deadline: number,
  closed: AbortSignal,
): CaptureStatus['endedBy'] {
  if (closed.aborted) return 'client'
  if (performance.now() > deadline) return 'time'
  return session.isOn ? undefined : 'request'
}

const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))
