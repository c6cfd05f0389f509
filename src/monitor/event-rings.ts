/**
 * The event rings of a datapath, one of each worker, as its observer reads them: one stream in the
 * order of the events' times. A ring has one consumer (src/maps/event-ring.ts), and so has this.
 *
 * What it does not do: wait. An event that a worker leaves a moment later with an earlier time comes
 * when it comes.
 */
import type { EventRing } from '../maps/event-ring.js'
import { EventWord } from './event.js'

export class EventRings {
  readonly rings: readonly EventRing[]
  /** Records that were lost just before the one last read, in its worker's ring. */
  lostBefore = 0

  /** @param rings by worker, at least one */
  constructor(rings: readonly EventRing[]) {
    this.rings = rings
  }

  get capacity(): number {
    return this.rings.reduce((sum, ring) => sum + ring.capacity, 0)
  }

  /** Records written and not yet taken. */
  get size(): number {
    return this.rings.reduce((sum, ring) => sum + ring.size, 0)
  }

  /** Records lost since the rings were made; wraps. */
  get lost(): number {
    return this.rings.reduce((sum, ring) => (sum + ring.lost) | 0, 0)
  }

  /** Copies the record with the earliest time and takes it; false when there is none. */
  read(into: Int32Array): boolean {
    const ring = this.#earliest()
    if (ring === undefined || !ring.read(into)) return false
    this.lostBefore = ring.lostBefore
    return true
  }

  /** Forgets what waits; returns how many records that were. */
  skip(): number {
    return this.rings.reduce((sum, ring) => sum + ring.skip(), 0)
  }

  #earliest(): EventRing | undefined {
    const { rings } = this
    if (rings.length === 1) return rings[0]
    let earliest: EventRing | undefined
    let seconds = 0
    let nanoseconds = 0
    for (const ring of rings) {
      if (ring.size <= 0) continue
      const ringSeconds = ring.peek(EventWord.SECONDS)
      const ringNanoseconds = ring.peek(EventWord.NANOSECONDS)
      const isEarlier =
        ringSeconds < seconds || (ringSeconds === seconds && ringNanoseconds < nanoseconds)
      if (earliest !== undefined && !isEarlier) continue
      earliest = ring
      seconds = ringSeconds
      nanoseconds = ringNanoseconds
    }
    return earliest
  }
}
