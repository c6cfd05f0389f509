/**
 * The option lists that end most pcapng blocks: code, length, value, padded to four bytes (draft,
 * section 3.5).
 */
import type { ByteSource } from './byte-source.js'
import { formatError } from './capture.js'
import { OPTION_HEADER_BYTES, Option, paddedTo4 } from './pcapng-format.js'

/**
 * Calls `visit` with code, place and length of each option between two offsets from the source's
 * cursor, where the block's options begin and end. The list may end without an end mark; it may not
 * overrun the block.
 */
export function eachOption(
  source: ByteSource,
  from: number,
  end: number,
  visit: (code: number, at: number, bytes: number) => void,
): void {
  let at = from
  // Every option is at least 4 bytes, so the block's length bounds the loop.
  while (at < end) {
    if (end - at < OPTION_HEADER_BYTES) {
      throw formatError(source.offset + at, 'the option list', 'cut short', 'an option of 4 bytes')
    }
    const code = source.u16(at)
    const bytes = source.u16(at + 2)
    if (code === Option.END) return
    at += OPTION_HEADER_BYTES
    if (at + paddedTo4(bytes) > end) {
      const expected = `at most ${end - at}, what the block has room for`
      throw formatError(source.offset + at - 2, `the length of option ${code}`, bytes, expected)
    }
    visit(code, at, bytes)
    at += paddedTo4(bytes)
  }
}
