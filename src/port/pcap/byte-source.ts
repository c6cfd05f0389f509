/**
 * Reads a capture front to back, from memory or from a file descriptor (a pipe will do), through a
 * window that grows only as far as its user asks for. Integers are read at offsets from the cursor,
 * in the byte order of the file.
 */
import { readSync } from 'node:fs'

const WINDOW_BYTES = 65_536

export class ByteSource {
  /** The capture's own byte order, which its reader learns from the magic number. */
  isLittleEndian = false
  readonly #descriptor: number | null
  #window: Uint8Array
  #view: DataView
  #cursor = 0
  #end: number
  #offset = 0

  /**
   * @param input the whole capture, or an open file descriptor, which stays the caller's to close
   */
  constructor(input: Uint8Array | number) {
    this.#descriptor = typeof input === 'number' ? input : null
    this.#window = typeof input === 'number' ? new Uint8Array(WINDOW_BYTES) : input
    this.#end = typeof input === 'number' ? 0 : input.length
    this.#view = viewOf(this.#window)
  }

  /** Bytes from the start of the file to the cursor. */
  get offset(): number {
    return this.#offset
  }

  /** Whether `count` bytes follow the cursor; they are then readable. The caller bounds `count`. */
  has(count: number): boolean {
    if (this.#end - this.#cursor >= count) return true
    if (this.#descriptor === null) return false
    this.#makeRoom(count)
    while (this.#end - this.#cursor < count) {
      if (!this.#fill(this.#descriptor)) return false
    }
    return true
  }

  /** Moves the cursor over `count` bytes, however many; false when the file ends before. */
  skip(count: number): boolean {
    let left = count
    for (;;) {
      const step = Math.min(left, this.#end - this.#cursor)
      this.#cursor += step
      this.#offset += step
      left -= step
      if (left === 0) return true
      if (this.#descriptor === null) return false
      this.#cursor = 0
      this.#end = 0
      if (!this.#fill(this.#descriptor)) return false
    }
  }

  u8(at: number): number {
    return this.#view.getUint8(this.#cursor + at)
  }

  u16(at: number): number {
    return this.#view.getUint16(this.#cursor + at, this.isLittleEndian)
  }

  u32(at: number): number {
    return this.#view.getUint32(this.#cursor + at, this.isLittleEndian)
  }

  i64(at: number): bigint {
    return this.#view.getBigInt64(this.#cursor + at, this.isLittleEndian)
  }

  /** A view of bytes that `has` granted; valid until the next `has` or `skip`. */
  bytes(at: number, length: number): Uint8Array {
    return this.#window.subarray(this.#cursor + at, this.#cursor + at + length)
  }

  #makeRoom(count: number): void {
    if (count > this.#window.length) {
      const wider = new Uint8Array(Math.max(count, 2 * this.#window.length))
      wider.set(this.#window.subarray(this.#cursor, this.#end))
      this.#window = wider
      this.#view = viewOf(wider)
    } else {
      this.#window.copyWithin(0, this.#cursor, this.#end)
    }
    this.#end -= this.#cursor
    this.#cursor = 0
  }

  #fill(descriptor: number): boolean {
    const room = this.#window.length - this.#end
    const got = readSync(descriptor, this.#window, this.#end, room, null)
    this.#end += got
    return got > 0
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
