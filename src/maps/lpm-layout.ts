/**
 * Where the parts of an LPM map lie: header | counts of prefix lengths | root cells | stack of free
 * tables | tables | a hash map of the prefixes, with a header of its own.
 */
import { wholeLines } from './hash-layout.js'
import { HashMap } from './hash-map.js'
import { type MapSpec, MapType } from './map.js'
import { HEADER_WORDS, Header } from './map-header.js'

export const ADDRESS_WORDS = 4
export const ADDRESS_BITS = 128
/** IPv4 is ::ffff:a.b.c.d: its /n is 96 + n here. */
export const MAPPED_BITS = 96
export const MAPPED_WORD = 0xffff
/** A prefix as a key: four address words, and the length. */
export const PREFIX_WORDS = 5
export const PREFIX_LENGTH = 4

export const ROOT_CELLS = 1 << 16
export const TABLE_CELLS = 1 << 8

/** Words of the header. */
export const LpmHeader = {
  /** Changes before every change of the map. */
  EPOCH: Header.OWN,
  FREE_TABLES: Header.OWN + 1,
  /** The one writer's lock row. */
  LOCK: Header.OWN + 4,
  /** Bits of the prefix lengths in use outside ::ffff:0:0/96, five words. */
  LENGTHS: Header.OWN + 8,
} as const

/** Tables that always suffice for this many prefixes. */
const TABLES_AMPLE = 4096

export interface LpmLayout {
  readonly tables: number
  readonly countsStart: number
  readonly rootStart: number
  readonly freeStart: number
  readonly tablesStart: number
  readonly hashStart: number
  readonly totalWords: number
  readonly hashSpec: MapSpec
}

/**
 * Tables of 1 KiB for a map without a number of its own. A prefix longer than /16 needs at most
 * two; those of a pod network share theirs (256 addresses to a table), so that an eighth is plenty
 * once there are thousands.
 */
export function defaultTables(maxEntries: number): number {
  return Math.min(2 * maxEntries, TABLES_AMPLE + (maxEntries >> 3))
}

export function lpmLayout(spec: MapSpec): LpmLayout {
  const tables = spec.tables || defaultTables(spec.maxEntries)
  const hashSpec: MapSpec = {
    name: 'prefixes',
    type: MapType.HASH,
    keyWords: PREFIX_WORDS,
    valueWords: spec.valueWords,
    maxEntries: spec.maxEntries,
  }
  const countsStart = HEADER_WORDS
  const rootStart = countsStart + wholeLines(ADDRESS_BITS + 1)
  const freeStart = rootStart + ROOT_CELLS
  const tablesStart = freeStart + wholeLines(tables)
  const hashStart = tablesStart + tables * TABLE_CELLS
  const totalWords = hashStart + HashMap.wordsFor(hashSpec)
  return { tables, countsStart, rootStart, freeStart, tablesStart, hashStart, totalWords, hashSpec }
}
