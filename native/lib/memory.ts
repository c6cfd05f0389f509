/** Memory of this process for tables that are read at random places. */
import { binding } from './binding.js'
import { checkInteger, explained } from './errors.js'

const BYTES_MAX = 2 ** 40

/**
 * Zeros that begin at a page, in huge pages where the kernel has some (transparent ones, `madvise`):
 * an ordinary ArrayBuffer begins 16 bytes behind one, so that records of a cache line lie in two of
 * them, and a large one costs an address translation at nearly each access. All pages are there at
 * once: at the first touch of a huge one the kernel clears two megabytes, for 100 µs and more.
 *
 * @param bytes 1 to 2^40. Throws EXDP_SYSTEM with `errno` when the kernel gives none, or not so many.
 */
export function allocateMemory(bytes: number): ArrayBuffer {
  checkInteger('bytes', bytes, 1, BYTES_MAX)
  return explained('memory', {}, () => binding().allocateMemory(bytes))
}
