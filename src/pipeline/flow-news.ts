/**
 * What the flow lanes of a datapath's workers tell each other: a connection began, and packets with
 * these ends may meet another decision from now on. Each worker has one ring that all others read,
 * each with a cursor of its own; nobody waits for a reader. One who was overtaken knows that he was,
 * and forgets all flows (docs/adr/0015).
 *
 * A worker tells before it sends the packet, and the others hear at the begin of each burst: who
 * receives an answer to the packet has heard of it.
 */

/** A worker's ring: on a line of its own how much was told, which only grows and wraps, then the ends. */
const TOLD = 0
const RECORDS = 16
const RECORD_SHIFT = 2
/** More connections than one worker begins while another handles a burst. */
const CAPACITY = 4096
const RING_WORDS = RECORDS + (CAPACITY << RECORD_SHIFT)

/** A lane's flows, see FlowTable. */
export interface FlowListener {
  forgetEnds(a: number, b: number, c: number, ingress: number): void
  invalidate(): void
}

export class FlowNews {
  readonly #words: Int32Array
  readonly #own: number
  /** What was told before a worker began concerns none of its flows. */
  readonly #heard: Int32Array

  /**
   * @param buffer `bytesFor` bytes, zeros at first, the same for all workers
   * @param worker from 0
   */
  constructor(buffer: SharedArrayBuffer, worker: number) {
    this.#words = new Int32Array(buffer)
    this.#own = worker
    this.#heard = new Int32Array(this.#words.length / RING_WORDS)
    for (let other = 0; other < this.#heard.length; other++) {
      this.#heard[other] = Atomics.load(this.#words, other * RING_WORDS + TOLD)
    }
  }

  static bytesFor(workers: number): number {
    return workers * RING_WORDS * Int32Array.BYTES_PER_ELEMENT
  }

  /** Ends as in plain4.ts; `ingress` is the port that such packets come in by << 8 | IP protocol. */
  tell(a: number, b: number, c: number, ingress: number): void {
    const words = this.#words
    const ring = this.#own * RING_WORDS
    const told = words[ring + TOLD] as number
    const record = recordAt(ring, told)
    words[record] = a
    words[record + 1] = b
    words[record + 2] = c
    words[record + 3] = ingress
    Atomics.store(words, ring + TOLD, (told + 1) | 0)
  }

  /** Lets the flows of this worker forget what the others told since the last time. */
  hear(flows: FlowListener): void {
    const heard = this.#heard
    const words = this.#words
    for (let other = 0; other < heard.length; other++) {
      const at = other * RING_WORDS + TOLD
      // A plain load first, as nearly always nothing was told (docs/adr/0009).
      if (other === this.#own || words[at] === heard[other]) continue
      const told = Atomics.load(words, at)
      this.#hearRing(other * RING_WORDS, heard[other] as number, told, flows)
      heard[other] = told
    }
  }

  #hearRing(ring: number, from: number, to: number, flows: FlowListener): void {
    const words = this.#words
    if (((to - from) | 0) < CAPACITY) {
      for (let told = from; told !== to; told = (told + 1) | 0) {
        const record = recordAt(ring, told)
        flows.forgetEnds(
          words[record] as number,
          words[record + 1] as number,
          words[record + 2] as number,
          words[record + 3] as number,
        )
      }
    }
    // The one who tells may have come round and into what was just read.
    const isOvertaken = ((Atomics.load(words, ring + TOLD) - from) | 0) >= CAPACITY
    if (isOvertaken) flows.invalidate()
  }
}

function recordAt(ring: number, told: number): number {
  return ring + RECORDS + ((told & (CAPACITY - 1)) << RECORD_SHIFT)
}
