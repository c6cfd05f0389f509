/** Memory of this process for tables that are read at random places. */
import { binding } from './binding.js'
import { checkInteger, explained, XdpError, XdpErrorCode } from './errors.js'

const BYTES_MAX = 2 ** 40
const allocated = new WeakSet<ArrayBufferLike>()

/**
 * Zeros that begin at a page, in huge pages where the kernel has some (transparent ones, `madvise`):
 * an ordinary ArrayBuffer begins 16 bytes behind one, so that records of a cache line lie in two of
 * them, and a large one costs an address translation at nearly each access.
 *
 * @param bytes 1 to 2^40. Throws EXDP_SYSTEM with `errno` when the kernel gives none.
 */
export function allocateMemory(bytes: number): ArrayBuffer {
  checkInteger('bytes', bytes, 1, BYTES_MAX)
  const buffer = explained('memory', {}, () => binding().allocateMemory(bytes))
  allocated.add(buffer)
  return buffer
}

/**
 * Zeros again, of which the kernel has the pages back.
 *
 * @param buffer of `allocateMemory`, in this thread. Throws EXDP_ARGUMENT for another one.
 */
export function discardMemory(buffer: ArrayBufferLike): void {
  if (!allocated.has(buffer)) {
    throw new XdpError(XdpErrorCode.ARGUMENT, 'buffer: not one of allocateMemory in this thread')
  }
  binding().discardMemory(buffer as ArrayBuffer)
}
