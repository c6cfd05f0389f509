/**
 * Memory that several processes see: a file (best in /run or /dev/shm) mapped into each of them.
 */
import { binding, type MappingHandle } from './binding.js'
import { checkInteger, explained } from './errors.js'

const BYTES_MAX = 2 ** 40

export interface SharedMemoryOptions {
  /**
   * Makes the file, readable by its owner only, and lengthens it with zeros to `bytes`, for which
   * its file system must have room.
   */
  readonly create?: boolean
}

export class SharedMemory {
  readonly path: string
  readonly bytes: number
  /**
   * The file's bytes; stores are seen by every process that maps it. Detached (0 bytes long) by
   * `close`.
   */
  readonly buffer: ArrayBuffer
  readonly #handle: MappingHandle
  #closed = false

  private constructor(
    path: string,
    made: { readonly handle: MappingHandle; readonly buffer: ArrayBuffer },
  ) {
    this.path = path
    this.bytes = made.buffer.byteLength
    this.buffer = made.buffer
    this.#handle = made.handle
  }

  /**
   * @param bytes to map; 0 for as many as the file has Throws EXDP_SHARED_MEMORY with `path` and
   * `errno` when the file is missing, too short, or not ours, or there is no room for it.
   */
  static open(path: string, bytes: number, options: SharedMemoryOptions = {}): SharedMemory {
    checkInteger('bytes', bytes, 0, BYTES_MAX)
    const create = options.create ?? false
    const details = bytes === 0 ? { path } : { path, bytes }
    const made = explained('shared memory', details, () =>
      binding().mapSharedFile(path, bytes, create),
    )
    return new SharedMemory(path, made)
  }

  /** Unmaps; the file stays. A second call does nothing. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    binding().unmapSharedFile(this.#handle, this.buffer)
  }
}
