/** Captures that are damaged on purpose: one format error that says where, never a hang. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ErrorCode, RingpathError } from '../../src/base/errors.js'
import {
  block,
  bytesOf,
  COMMENTS,
  fixture,
  MICROSECONDS,
  NANOSECONDS,
  readAll,
  section,
  words,
} from '../support/capture-files.js'
import { seededPrng } from '../support/seed.js'

const directory = mkdtempSync(join(tmpdir(), 'rp-port-pcap-'))
t.teardown(() => rmSync(directory, { recursive: true }))

const header = words(true, 0xa1b2c3d4, 0x0004_0002, 0, 0, 65535, 1)
const start = section(true)
const eth = block(true, 1, words(true, 1, 0))
/** What is wrong, the file, and what the error says. */
const MALFORMED: [string, Uint8Array, RegExp][] = [
  ['empty', bytesOf(), /offset 0: the magic number is cut short, expected 4 bytes/],
  ['other', bytesOf([1, 2, 3, 4]), /offset 0: the magic number is 0x.*, expected that of a pcap/],
  ['cut header', header.subarray(0, 23), /offset 0: the file header is cut short/],
  ['version', words(true, 0xa1b2c3d4, 0x0004_0003, 0, 0, 0, 1), /offset 4: .* is 3.4, .* 2.4/],
  ['cut record', bytesOf(header, [1]), /offset 24: the record header is cut short/],
  ['fraction', bytesOf(header, words(true, 0, 1e6, 0, 0)), /offset 28: .* 1000000, .* below/],
  ['huge', bytesOf(header, words(true, 0, 0, 0xffffffff, 0xffffffff)), /offset 32: .*4294967295/],
  ['lengths', bytesOf(header, words(true, 0, 0, 2, 1)), /offset 32: .* 2, expected at most .*1/],
  ['cut frame', bytesOf(header, words(true, 0, 0, 2, 2), [1]), /offset 40: the frame is cut/],
  ['cut section', start.subarray(0, 8), /offset 0: the section header is cut short/],
  ['byte order', bytesOf(words(true, 0x0a0d0d0a, 28, 7)), /offset 8: the byte-order magic is 0x7/],
  ['ng version', block(true, 0x0a0d0d0a, words(true, 0x1a2b3c4d, 3, 0, 0)), /offset 12: .* 3.0/],
  ['odd block', bytesOf(start, words(true, 6, 33)), /offset 32: the block length is 33/],
  ['huge block', bytesOf(start, words(true, 6, 0xfffffffc)), /offset 32: .* 4294967292, .* packet/],
  ['huge unknown', bytesOf(start, words(true, 77, 0xfffffffc)), /offset 28: the block is cut/],
  ['tiny block', bytesOf(start, words(true, 6, 12, 12)), /offset 32: .* 12, expected 32 to/],
  ['trailer', bytesOf(start, words(true, 77, 12, 16)), /offset 36: .*repeated.* 16, expected 12/],
  ['no interface', bytesOf(start, block(true, 6, words(true, 0, 0, 0, 0, 0))), /interface .* is 0/],
  [
    'overrun',
    bytesOf(start, eth, block(true, 6, words(true, 0, 0, 0, 9, 9, 0))),
    /offset 68: the captured length is 9, expected at most 4/,
  ],
  [
    'option overrun',
    bytesOf(start, eth, block(true, 6, words(true, 0, 0, 0, 0, 0, 0x0008_0001, 0))),
    /offset 78: the length of option 1 is 8, expected at most 4/,
  ],
  [
    'flags',
    bytesOf(start, eth, block(true, 6, words(true, 0, 0, 0, 0, 0, 0x0001_0002, 0))),
    /the length of the flags is 1, expected 4/,
  ],
  ['resolution', bytesOf(start, block(true, 1, words(true, 1, 0, 9))), /option 9 is 0, expected 1/],
]

t.test('a malformed file is refused with offset, field, value and what was expected', async (t) => {
  for (const [name, file, message] of MALFORMED) {
    t.throws(() => readAll(file), { code: ErrorCode.PCAP_FORMAT, message }, name)
    const path = join(directory, 'malformed')
    writeFileSync(path, file)
    const descriptor = openSync(path, 'r')
    t.throws(() => readAll(descriptor), { code: ErrorCode.PCAP_FORMAT, message }, `${name} (file)`)
    closeSync(descriptor)
  }
})

t.test('every truncation of a capture is frames and then at most one format error', async (t) => {
  for (const name of [MICROSECONDS, NANOSECONDS, COMMENTS]) {
    const whole = fixture(name)
    let ends = 0
    for (let length = 0; length < whole.length; length++) {
      if (outcome(whole.subarray(0, length)) === 'read') ends++
    }
    // Only between records, blocks in the case of pcapng, may a file end.
    t.equal(ends, name === COMMENTS ? 5 : 4, name)
  }
})

t.test('random damage to a capture is read or refused, and nothing else', async (t) => {
  const prng = seededPrng(t)
  const counts = { read: 0, refused: 0 }
  const bases = [fixture(MICROSECONDS), fixture(NANOSECONDS), fixture(COMMENTS)]
  const path = join(directory, 'damaged')
  for (let round = 0; round < 20_000; round++) {
    const file = Buffer.from(bases[round % bases.length])
    for (let i = 1 + prng.below(4); i > 0; i--) {
      const at = prng.below(file.length)
      const values = [0, 1, 0x7f, 0x80, 0xff, prng.below(256)]
      file[at] = values[prng.below(values.length)]
    }
    counts[outcome(file)]++
    if (round % 100 !== 0) continue
    writeFileSync(path, file)
    const descriptor = openSync(path, 'r')
    t.equal(outcome(descriptor), outcome(file), 'a descriptor gives the same outcome')
    closeSync(descriptor)
  }
  t.ok(counts.read > 100 && counts.refused > 100, `read ${counts.read}, ${counts.refused} refused`)
})

function outcome(input: Uint8Array | number): 'read' | 'refused' {
  try {
    readAll(input)
    return 'read'
  } catch (error) {
    if (error instanceof RingpathError && error.code === ErrorCode.PCAP_FORMAT) return 'refused'
    throw error
  }
}
