/**
 * The frames that one exchange hands over, as parallel int32 columns on one buffer that native code
 * fills too.
 *
 * On receive `ports[i]` is the port a frame came in by. The engine overwrites `starts`, `lengths`
 * and `ports` with where the frame now begins, how long it is, and the port it leaves by; NO_PORT
 * gives the frame back to the pool. The next exchange carries that out. Frames taken from the pool
 * may be appended up to `capacity`.
 */

/** Not a port: the frame goes back to the pool. */
export const NO_PORT = -1

/** Words before the columns; native/src/poller.h has the same layout. */
const HEADER_WORDS = 16
const COUNT = 0
const NOW_SECONDS = 1
const NOW_NANOSECONDS = 2

export class Burst {
  /**
   * Header, then `starts`, `lengths` and `ports`, each `capacity` words. Registered with the native
   * poller.
   */
  readonly words: Int32Array
  /** Byte in the UMEM where each frame's first byte lies. */
  readonly starts: Int32Array
  /** Bytes of each frame, without the frame check sequence. */
  readonly lengths: Int32Array
  /**
   * Index of the port each frame came in by; after the stages, of the one it leaves by, or NO_PORT.
   */
  readonly ports: Int32Array
  readonly capacity: number

  constructor(capacity: number) {
    this.words = new Int32Array(HEADER_WORDS + 3 * capacity)
    const column = (n: number) => {
      const start = HEADER_WORDS + n * capacity
      return this.words.subarray(start, start + capacity)
    }
    this.starts = column(0)
    this.lengths = column(1)
    this.ports = column(2)
    this.capacity = capacity
  }

  get count(): number {
    return this.words[COUNT] as number
  }

  set count(count: number) {
    this.words[COUNT] = count
  }

  /** Monotonic seconds at which the burst was taken. */
  get nowSeconds(): number {
    return this.words[NOW_SECONDS] as number
  }

  /** Nanoseconds within that second. */
  get nowNanoseconds(): number {
    return this.words[NOW_NANOSECONDS] as number
  }

  setTime(seconds: number, nanoseconds: number): void {
    this.words[NOW_SECONDS] = seconds
    this.words[NOW_NANOSECONDS] = nanoseconds
  }
}
