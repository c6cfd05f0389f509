/**
 * The first 256 bytes of every map: what it is, so that memory of another format is refused and
 * never misread, and the counters that all its users share. Words are int32 in the machine's order;
 * the magic number shows a foreign order too.
 */
import { randomInt } from 'node:crypto'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { type MapOptions, type MapSpec, MapType } from './map.js'

export const HEADER_WORDS = 64
export const BYTES_PER_WORD = 4
const MAGIC_NUMBER = 0x52_50_4d_31
/** In its place while a map is being made: who finds it later finds a creator that died. */
const MAGIC_UNFINISHED = 0x52_50_4d_30
/** 2: who writes marks changes in `MapOptions.total` as well, and so must all who write. */
const FORMAT_VERSION = 2
/** 4 GiB of words keep every index an int32. */
const TOTAL_WORDS_MAX = 2 ** 30
const KEY_WORDS_MAX = 64
const VALUE_WORDS_MAX = 4096
const NAME_BYTES_MAX = 63

/**
 * Word indexes in the header. Identity lies in the first 32 words, shared counters in the next 16,
 * the rest is the kind's.
 */
export const Header = {
  MAGIC: 0,
  VERSION: 1,
  TYPE: 2,
  KEY_WORDS: 3,
  VALUE_WORDS: 4,
  MAX_ENTRIES: 5,
  PARAMETER: 6,
  TOTAL_WORDS: 7,
  SEED: 8,
  NAME: 16,
  SIZE: 32,
  EVICTIONS: 33,
  LOCKS_STOLEN: 34,
  ENTRIES_DROPPED: 35,
  /** See revision.ts. */
  REVISION: 36,
  /** Entries that were not written because the map was full; wraps. */
  REFUSED: 37,
  /** Sweeps of expired entries, what they deleted (both wrap), and seconds until the next. */
  SWEEPS: 38,
  COLLECTED: 39,
  SWEEP_SECONDS: 40,
  /** Requests for a sweep at once; wraps. */
  SWEEP_REQUESTS: 41,
  OWN: 48,
} as const

/** The number of a type in memory is its place here plus one: append only. */
const TYPES: readonly MapType[] = [
  MapType.HASH,
  MapType.LRU_HASH,
  MapType.LPM,
  MapType.ARRAY,
  MapType.COUNTER,
  MapType.EVENT_RING,
]

/** How many words a map of this spec takes, header included. Each kind has one. */
export type WordsFor = (spec: MapSpec) => number

/** The spec's own number of its kind: stamp word, tables or workers; 0 where it has none. */
export function parameterOf(spec: MapSpec): number {
  if (spec.type === MapType.LRU_HASH) return spec.stampWord ?? 0
  if (spec.type === MapType.LPM) return spec.tables ?? 0
  if (spec.type === MapType.COUNTER) return spec.workers ?? 1
  return 0
}

/** Says EMAP_SPEC with the field's name when a spec is outside the ranges that MapSpec states. */
export function checkSpec(spec: MapSpec, type: MapType): void {
  if (spec.type !== type) throw wrongSpec(spec, 'type', spec.type, type)
  const nameBytes = Buffer.byteLength(spec.name)
  if (nameBytes < 1 || nameBytes > NAME_BYTES_MAX || spec.name.includes('\0')) {
    throw wrongSpec(spec, 'name', `${nameBytes} bytes`, `1 to ${NAME_BYTES_MAX} bytes without NUL`)
  }
  const keyed = type === MapType.HASH || type === MapType.LRU_HASH
  const fixedKey = type === MapType.LPM ? 4 : 0
  checkRange(
    spec,
    'keyWords',
    spec.keyWords,
    keyed ? 1 : fixedKey,
    keyed ? KEY_WORDS_MAX : fixedKey,
  )
  const isCounter = type === MapType.COUNTER
  checkRange(
    spec,
    'valueWords',
    spec.valueWords,
    isCounter ? 2 : 0,
    isCounter ? 2 : VALUE_WORDS_MAX,
  )
  checkRange(spec, 'maxEntries', spec.maxEntries, 1, 2 ** 29)
  if (type === MapType.LRU_HASH) {
    checkRange(spec, 'stampWord', parameterOf(spec), 0, spec.valueWords - 1)
  }
  if (type === MapType.LPM) checkRange(spec, 'tables', parameterOf(spec), 0, 2 ** 21)
  if (type === MapType.COUNTER) checkRange(spec, 'workers', parameterOf(spec), 1, 1024)
}

function checkRange(spec: MapSpec, field: string, found: number, low: number, high: number): void {
  if (Number.isInteger(found) && found >= low && found <= high) return
  throw wrongSpec(spec, field, found, `a whole number from ${low} to ${high}`)
}

export function wrongSpec(
  spec: Pick<MapSpec, 'name'>,
  field: string,
  found: string | number,
  expected: string,
): RingpathError {
  const text = `map ${spec.name}: ${field} is ${found}, expected ${expected}`
  return new RingpathError(ErrorCode.MAP_SPEC, text)
}

/** A whole number of words for a total that is within bounds, or EMAP_SPEC. */
export function boundedWords(spec: MapSpec, totalWords: number): number {
  if (totalWords <= TOTAL_WORDS_MAX) return totalWords
  const bytes = totalWords * BYTES_PER_WORD
  throw wrongSpec(spec, 'bytes', bytes, `at most ${TOTAL_WORDS_MAX * BYTES_PER_WORD}`)
}

/**
 * Clears the map's memory and writes its header; the magic number last, so that half a header is
 * never adopted.
 */
export function createWords(
  spec: MapSpec,
  buffer: ArrayBufferLike,
  totalWords: number,
  options: MapOptions,
): Int32Array {
  const byteOffset = checkedOffset(spec.name, options)
  const bytes = totalWords * BYTES_PER_WORD
  if (buffer.byteLength - byteOffset < bytes) {
    const found = buffer.byteLength - byteOffset
    throw wrongSpec(spec, 'buffer', `${found} bytes`, `at least ${bytes} bytes`)
  }
  const words = new Int32Array(buffer, byteOffset, totalWords)
  Atomics.store(words, Header.MAGIC, MAGIC_UNFINISHED)
  words.fill(0, Header.MAGIC + 1)
  words[Header.VERSION] = FORMAT_VERSION
  words[Header.TYPE] = TYPES.indexOf(spec.type) + 1
  words[Header.KEY_WORDS] = spec.keyWords
  words[Header.VALUE_WORDS] = spec.valueWords
  words[Header.MAX_ENTRIES] = spec.maxEntries
  words[Header.PARAMETER] = parameterOf(spec)
  words[Header.TOTAL_WORDS] = totalWords
  words[Header.SEED] = options.seed ?? randomInt(2 ** 32) | 0
  nameBytes(words).set(Buffer.from(spec.name))
  return words
}

/**
 * Ends `createWords` once the kind has written what else it needs: from here on the map may be
 * opened.
 */
export function publishWords(words: Int32Array): void {
  Atomics.store(words, Header.MAGIC, MAGIC_NUMBER)
}

/**
 * Whether nobody has made a map here yet: the header is all zeros, or of a map whose creator was
 * killed on the way. Memory of a foreign format is not blank. Only one process may create: two that
 * find the same memory blank overwrite each other.
 */
export function isBlank(buffer: ArrayBufferLike, byteOffset = 0): boolean {
  const words = Math.min(HEADER_WORDS, Math.max(0, buffer.byteLength - byteOffset) >>> 2)
  const header = new Int32Array(buffer, byteOffset, words)
  return header[Header.MAGIC] === MAGIC_UNFINISHED || header.every((word) => word === 0)
}

/** What the header in this memory says; EMAP_FORMAT, with the name that it should have, when it is none of ours. */
export function specIn(buffer: ArrayBufferLike, byteOffset = 0, wanted = '?'): MapSpec {
  const available = buffer.byteLength - byteOffset
  if (available < HEADER_WORDS * BYTES_PER_WORD) {
    throw wrongFormat(wanted, 'bytes', available, `at least ${HEADER_WORDS * BYTES_PER_WORD}`)
  }
  const words = new Int32Array(buffer, byteOffset, HEADER_WORDS)
  const magic = Atomics.load(words, Header.MAGIC)
  if (magic !== MAGIC_NUMBER) throw wrongFormat(wanted, 'magic', hex(magic), hex(MAGIC_NUMBER))
  const version = at(words, Header.VERSION)
  if (version !== FORMAT_VERSION) throw wrongFormat(wanted, 'version', version, FORMAT_VERSION)
  const stored = nameBytes(words)
  const end = stored.indexOf(0)
  const name = Buffer.from(stored.slice(0, end < 0 ? stored.length : end)).toString()
  const type = TYPES[at(words, Header.TYPE) - 1]
  if (type === undefined) {
    throw wrongFormat(name, 'type', at(words, Header.TYPE), `1 to ${TYPES.length}`)
  }
  const parameter = at(words, Header.PARAMETER)
  return {
    name,
    type,
    keyWords: at(words, Header.KEY_WORDS),
    valueWords: at(words, Header.VALUE_WORDS),
    maxEntries: at(words, Header.MAX_ENTRIES),
    ...(type === MapType.LRU_HASH ? { stampWord: parameter } : {}),
    ...(type === MapType.LPM ? { tables: parameter } : {}),
    ...(type === MapType.COUNTER ? { workers: parameter } : {}),
  }
}

/**
 * The words of an existing map, after its header was compared with the type asked for and, when
 * given, with each field of the spec expected; EMAP_FORMAT names the field, what was found and what
 * was expected.
 */
export function openWords(
  buffer: ArrayBufferLike,
  type: MapType,
  wordsFor: WordsFor,
  expected: MapSpec | undefined,
  options: MapOptions,
): { words: Int32Array; spec: MapSpec } {
  const byteOffset = checkedOffset(expected?.name ?? '?', options)
  const found = specIn(buffer, byteOffset, expected?.name)
  if (found.type !== type) throw wrongFormat(found.name, 'type', found.type, type)
  if (expected !== undefined) compareSpecs(found, expected)
  const header = new Int32Array(buffer, byteOffset, HEADER_WORDS)
  const totalWords = wordsOf(found, wordsFor)
  if (at(header, Header.TOTAL_WORDS) !== totalWords) {
    throw wrongFormat(found.name, 'words', at(header, Header.TOTAL_WORDS), totalWords)
  }
  const available = buffer.byteLength - byteOffset
  if (available < totalWords * BYTES_PER_WORD) {
    throw wrongFormat(found.name, 'bytes', available, `at least ${totalWords * BYTES_PER_WORD}`)
  }
  return { words: new Int32Array(buffer, byteOffset, totalWords), spec: found }
}

/**
 * A header may be damaged: a spec out of range is then a matter of format, not of the caller's
 * spec.
 */
function wordsOf(found: MapSpec, wordsFor: WordsFor): number {
  try {
    return wordsFor(found)
  } catch (cause) {
    const text = `map ${found.name}: the header holds a spec out of range`
    throw new RingpathError(ErrorCode.MAP_FORMAT, text, cause)
  }
}

function compareSpecs(found: MapSpec, expected: MapSpec): void {
  const fields = ['name', 'type', 'keyWords', 'valueWords', 'maxEntries'] as const
  for (const field of fields) {
    if (found[field] !== expected[field]) {
      throw wrongFormat(expected.name, field, found[field], expected[field])
    }
  }
  const parameter = PARAMETER_NAMES[expected.type]
  if (parameter !== undefined && parameterOf(found) !== parameterOf(expected)) {
    throw wrongFormat(expected.name, parameter, parameterOf(found), parameterOf(expected))
  }
}

const PARAMETER_NAMES: Partial<Record<MapType, string>> = {
  [MapType.LRU_HASH]: 'stampWord',
  [MapType.LPM]: 'tables',
  [MapType.COUNTER]: 'workers',
}

function wrongFormat(
  name: string,
  field: string,
  found: string | number,
  expected: string | number,
): RingpathError {
  const text = `map ${name}: the memory has ${field} ${found}, expected ${expected}`
  return new RingpathError(ErrorCode.MAP_FORMAT, text)
}

function checkedOffset(name: string, options: MapOptions): number {
  const byteOffset = options.byteOffset ?? 0
  if (Number.isInteger(byteOffset) && byteOffset >= 0 && byteOffset % 64 === 0) return byteOffset
  throw wrongSpec({ name }, 'byteOffset', byteOffset, 'a multiple of 64')
}

function nameBytes(words: Int32Array): Uint8Array {
  const byteOffset = words.byteOffset + Header.NAME * BYTES_PER_WORD
  return new Uint8Array(words.buffer, byteOffset, NAME_BYTES_MAX)
}

function at(words: Int32Array, index: number): number {
  return words[index] as number
}

function hex(word: number): string {
  return `0x${(word >>> 0).toString(16)}`
}
