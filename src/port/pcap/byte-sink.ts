/**
 * Collects what a capture writer emits and hands it on in large pieces, synchronously: to a file
 * descriptor, or to whoever takes bytes.
 */
import { closeSync, writeSync } from 'node:fs'

const BUFFER_BYTES = 65_536

/** Takes bytes; they are its own from then on. */
export type ByteTaker = (bytes: Uint8Array) => void

export class ByteSink {
  readonly #target: number | ByteTaker
  #buffer = new Uint8Array(BUFFER_BYTES)
  #view = new DataView(this.#buffer.buffer)
  #used = 0
  #isClosed = false

  /** @param target a descriptor open for writing, from now on the sink's to close; or a taker */
  constructor(target: number | ByteTaker) {
    this.#target = target
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
    const target = this.#target
    if (typeof target !== 'number') {
      if (this.#used > 0) target(this.#buffer.slice(0, this.#used))
      this.#used = 0
      return
    }
    let done = 0
    try {
      while (done < this.#used) {
        done += writeSync(target, this.#buffer, done, this.#used - done)
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
      if (typeof this.#target === 'number') closeSync(this.#target)
    }
  }
}
