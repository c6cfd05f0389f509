/**
 * Collects what a capture writer emits and hands it to a file descriptor in large pieces,
 * synchronously.
 */
import { closeSync, writeSync } from 'node:fs'

const BUFFER_BYTES = 65_536

export class ByteSink {
  readonly #descriptor: number
  #buffer = new Uint8Array(BUFFER_BYTES)
  #view = new DataView(this.#buffer.buffer)
  #used = 0
  #isClosed = false

  /** @param descriptor open for writing; from now on the sink's to close */
  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  /** Makes room for a record of `count` bytes, so that the puts that follow never split it. */
  reserve(count: number): void {
    if (this.#used + count <= this.#buffer.length) return
    this.flush()
    if (count <= this.#buffer.length) return
    this.#buffer = new Uint8Array(count)
    this.#view = new DataView(this.#buffer.buffer)
  }

  u8(value: number): void {
    this.#buffer[this.#used++] = value
  }

  u16(value: number): void {
    this.#view.setUint16(this.#used, value, true)
    this.#used += 2
  }

  u32(value: number): void {
    this.#view.setUint32(this.#used, value, true)
    this.#used += 4
  }

  bytes(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.#used)
    this.#used += bytes.length
  }

  /** Zeroes, up to the next multiple of 4 after `length`. */
  padding(length: number): void {
    for (let i = length; i % 4 !== 0; i++) this.u8(0)
  }

  /** Throws what write(2) says; what it took is not written again. */
  flush(): void {
    let done = 0
    try {
      while (done < this.#used) {
        done += writeSync(this.#descriptor, this.#buffer, done, this.#used - done)
      }
    } finally {
      this.#buffer.copyWithin(0, done, this.#used)
      this.#used -= done
    }
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    try {
      this.flush()
    } finally {
      closeSync(this.#descriptor)
    }
  }
}
