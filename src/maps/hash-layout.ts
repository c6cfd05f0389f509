/**
 * Where the parts of a hash map lie in its memory, and the bits of an entry's state word.
 *
 * header | lock rows, one for each segment | slots. A slot is a state word, the key, the value, and
 * padding. A segment is a run of slots in which all probing for a key stays (it wraps there), so
 * that one lock covers it.
 */
import type { MapSpec } from './map.js'
import { HEADER_WORDS } from './map-header.js'
import { LOCK_ROW_WORDS } from './segment-lock.js'

/** State of a slot that holds nothing; a probe ends here. */
export const EMPTY = 0
/**
 * State of a slot whose entry was deleted, while probes for other keys still have to pass it. It is KEY_BUSY
 * alone, so that a lookup passes deleted entries and half-written ones by one test.
 */
export const DELETED = 1
/** Bit 0 of any other state: the key is being written, nobody may read it. */
export const KEY_BUSY = 1
/** Bit 1: the value is being written; the key stands. */
export const VALUE_BUSY = 2
/** Bits 2 to 9: how far the slot is from the one where probing for its key begins. */
export const DISTANCE_SHIFT = 2
/** Bits 10 to 31: the generation, never 0 in a live entry. */
export const GENERATION_SHIFT = 10
export const GENERATION_MASK = 0x3f_ffff

/** As many as the distance in the state word can tell. */
const SEGMENT_SLOTS = 256
const SLOTS_MIN = 16
/**
 * Entries of up to this many words are packed to a power of two, larger ones to whole cache lines.
 */
const PACKED_WORDS_MAX = 8
const LINE_WORDS = 16

export interface HashLayout {
  readonly slots: number
  readonly segmentSlots: number
  readonly segments: number
  readonly entryWords: number
  readonly locksStart: number
  readonly entriesStart: number
  readonly totalWords: number
}

/**
 * At most half of the slots ever hold entries: probes stay short, and a segment of 256 never fills
 * by chance.
 */
export function hashLayout(spec: MapSpec): HashLayout {
  const slots = Math.max(SLOTS_MIN, powerOfTwo(spec.maxEntries * 2))
  const segmentSlots = Math.min(slots, SEGMENT_SLOTS)
  const segments = slots / segmentSlots
  const bare = 1 + spec.keyWords + spec.valueWords
  const entryWords = bare <= PACKED_WORDS_MAX ? powerOfTwo(bare) : wholeLines(bare)
  const entriesStart = HEADER_WORDS + wholeLines(segments * LOCK_ROW_WORDS)
  const totalWords = entriesStart + slots * entryWords
  const locksStart = HEADER_WORDS
  return { slots, segmentSlots, segments, entryWords, locksStart, entriesStart, totalWords }
}

/**
 * By shifts, for `**` gives a double: were it in a field of some tables' objects, V8 would take these
 * for objects of another kind. More than a shift can give is refused later, as too many bytes.
 */
function powerOfTwo(atLeast: number): number {
  if (atLeast > 2 ** 30) return 2 ** Math.ceil(Math.log2(atLeast))
  return 1 << (32 - Math.clz32(atLeast - 1))
}

export const wholeLines = (words: number): number => Math.ceil(words / LINE_WORDS) * LINE_WORDS
