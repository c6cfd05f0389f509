/**
 * A movable view of one frame in the UMEM: re-pointed at each frame, it owns no memory and
 * allocates nothing.
 *
 * A packet of several buffers (frame-chains.ts) is seen by its first one, which has the headers, and its
 * whole length; sums and copies go on into the others.
 *
 * Offsets count from the packet's first byte; values are in network byte order. Check `has` once
 * per header: the accessors do not repeat it, and past the packet's end they read whatever the
 * frame holds there.
 */
import { assert } from '../base/assert.js'
import { CHAIN_HEAD_BYTES_MIN, type FrameChains } from './frame-chains.js'

/** The sum below reads whole words in the machine's order, which swaps the bytes of the result. */
const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** Less the headers in front of what is summed, one of which may have been taken off. */
const SUM_IN_HEAD_BYTES_MAX = CHAIN_HEAD_BYTES_MIN - 256

const TWO_TO_32 = 0x1_0000_0000

export class PacketBuffer {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #words: Uint32Array
  /** All of the packet memory, in the machine's order: for who reads frames by whole words. */
  readonly memoryWords: Int32Array
  /** The same by two words at a time, for copies of what lies at multiples of eight bytes. */
  readonly memoryPairs: BigInt64Array
  readonly #stride: number
  readonly #chains: FrameChains | null
  #start = 0
  #length = 0

  /**
   * @param umem the memory that all frames lie in
   * @param stride bytes from one frame to the next
   * @param chains of the same memory; null: packets have one buffer
   */
  constructor(umem: ArrayBufferLike, stride: number, chains: FrameChains | null = null) {
    assert(stride > 0, 'a frame has at least one byte')
    this.#bytes = new Uint8Array(umem)
    this.#view = new DataView(umem)
    this.#words = new Uint32Array(umem, 0, umem.byteLength >>> 2)
    this.memoryWords = new Int32Array(umem, 0, umem.byteLength >>> 2)
    this.memoryPairs = new BigInt64Array(umem, 0, umem.byteLength >>> 3)
    this.#stride = stride
    this.#chains = chains
  }

  /** From one frame to the next. */
  get strideBytes(): number {
    return this.#stride
  }

  get start(): number {
    return this.#start
  }

  get length(): number {
    return this.#length
  }

  /** Bytes that `pushHead` can grow by. */
  get headroom(): number {
    return this.#start % this.#stride
  }

  /** It goes on behind its first buffer. Not for what a stage has cut to fit one frame. */
  get isChained(): boolean {
    return (this.#start % this.#stride) + this.#length > this.#stride
  }

  attach(start: number, length: number): void {
    this.#start = start
    this.#length = length
  }

  has(end: number): boolean {
    return end <= this.#length
  }

  u8(offset: number): number {
    return this.#bytes[this.#start + offset] as number
  }

  u16(offset: number): number {
    return this.#view.getUint16(this.#start + offset)
  }

  /** Signed on purpose: 32-bit fields stay int32 from wire to map key. */
  i32(offset: number): number {
    return this.#view.getInt32(this.#start + offset)
  }

  setU8(offset: number, value: number): void {
    this.#bytes[this.#start + offset] = value
  }

  setU16(offset: number, value: number): void {
    this.#view.setUint16(this.#start + offset, value)
  }

  setI32(offset: number, value: number): void {
    this.#view.setInt32(this.#start + offset, value)
  }

  /**
   * The sum of `byteCount` bytes from `offset` on, as 16-bit words in network order with the
   * carries added back in: 0 to 0xffff, and 0 only when all are zero. An odd last byte is the high
   * half of a word. It is what checksums are made of (wire/checksum.ts), and is here because only
   * whole aligned words read straight from the memory are fast.
   *
   * RFC 1071 section 2: the order of the bytes in a word does not matter to the sum but for a swap
   * of the result. Words add up in floating point, exact up to 2^53, since integers of 32 bits
   * would lose the carries.
   */
  sum16(offset: number, byteCount: number): number {
    // Whatever is shorter lies in the first buffer, for it begins in the headers.
    if (byteCount > SUM_IN_HEAD_BYTES_MAX && this.isChained)
      return this.#sumChain(offset, byteCount)
    let at = this.#start + offset
    const end = at + byteCount
    if ((at & 1) !== 0) return this.#sum16Unaligned(at, end)
    const bytes = this.#bytes
    let sum = 0
    if ((at & 2) !== 0 && byteCount >= 2) {
      sum = halfWord(bytes[at] as number, bytes[at + 1] as number)
      at += 2
    }
    // In this function and not one of its own: a double that is returned may be boxed.
    const words = this.#words
    const wordEnd = end >> 2
    let i = at >> 2
    // Eight at a time: the additions of a round do not wait for each other.
    for (const last = wordEnd - 8; i <= last; i += 8) {
      const a = (words[i] as number) + (words[i + 1] as number)
      const b = (words[i + 2] as number) + (words[i + 3] as number)
      const c = (words[i + 4] as number) + (words[i + 5] as number)
      const d = (words[i + 6] as number) + (words[i + 7] as number)
      sum += a + b + (c + d)
    }
    for (; i < wordEnd; i++) sum += words[i] as number
    // Equal but for a range of one byte at most in the second half of a word.
    at = Math.max(at, i << 2)
    if (at + 2 <= end) {
      sum += halfWord(bytes[at] as number, bytes[at + 1] as number)
      at += 2
    }
    if (at < end) sum += halfWord(bytes[at] as number, 0)
    const folded = fold(((sum / TWO_TO_32) | 0) + ((sum | 0) >>> 16) + (sum & 0xffff))
    return IS_LITTLE_ENDIAN ? ((folded & 0xff) << 8) | (folded >>> 8) : folded
  }

  /**
   * RFC 1071 section 2: the sum of what begins at an odd byte of the range has its bytes swapped. Here
   * that is a buffer behind an odd number of bytes.
   */
  #sumChain(offset: number, byteCount: number): number {
    const chains = this.#chains
    assert(chains !== null, 'a packet is longer than its frame')
    const start = this.#start
    const length = this.#length
    let from = start + offset
    let left = byteCount
    let sum = 0
    while (left > 0) {
      const hasNext = chains.hasNext(from)
      const bytes = hasNext ? Math.min(left, chains.end(from) - from) : left
      // Each buffer in turn is the packet.
      this.attach(from, bytes)
      const part = this.sum16(0, bytes)
      const isOdd = ((byteCount - left) & 1) !== 0
      sum = fold(sum + (isOdd ? ((part & 0xff) << 8) | (part >>> 8) : part))
      left -= bytes
      if (hasNext) from = chains.next(from)
    }
    this.attach(start, length)
    return sum
  }

  /** Copies the first `byteCount` bytes, of all buffers, to `target[at]` and on. */
  copyTo(target: Uint8Array, at: number, byteCount: number): void {
    const bytes = this.#bytes
    if (this.#chains !== null && this.isChained) {
      this.#chains.copyTo(bytes, this.#start, byteCount, target, at)
      return
    }
    for (let i = 0; i < byteCount; i++) target[at + i] = bytes[this.#start + i] as number
  }

  /** Frames that begin at an odd byte: legal, and so rare that they may be slow. */
  #sum16Unaligned(start: number, end: number): number {
    let at = start
    let sum = 0
    for (; at + 2 <= end; at += 2) sum = fold(sum + this.#view.getUint16(at))
    return at < end ? fold(sum + ((this.#bytes[at] as number) << 8)) : sum
  }

  /**
   * Grows into the headroom for an outer header; false, and nothing moved, when there is no room.
   */
  pushHead(bytes: number): boolean {
    if (bytes > this.headroom) return false
    this.#start -= bytes
    this.#length += bytes
    return true
  }

  /** Drops a header from the front; the caller has checked that the packet `has` it. */
  pullHead(bytes: number): void {
    this.#start += bytes
    this.#length -= bytes
  }

  /** Sets the packet's end; false, and nothing changed, when the frame is too small. */
  setLength(length: number): boolean {
    const offset = this.#start % this.#stride
    if (length < 0 || offset + length > this.#stride) return false
    this.#length = length
    return true
  }
}

/** Two bytes as the machine would read them. */
function halfWord(first: number, second: number): number {
  return IS_LITTLE_ENDIAN ? first | (second << 8) : (first << 8) | second
}

function fold(sum: number): number {
  const once = (sum >>> 16) + (sum & 0xffff)
  return (once >>> 16) + (once & 0xffff)
}
