/**
 * Who fills a table: the sources with the most entries, of connections or of NAT mappings. It walks
 * the live table, copying one entry at a time without a lock, so that traffic goes on undisturbed;
 * an entry that comes or goes meanwhile is counted or not.
 *
 * Its memory does not grow with the number of sources (Misra and Gries, 1982): a first walk finds the
 * candidates, among which is every source with more than one in `candidates` of all entries; a
 * second one counts them.
 */
import { CtKey } from '../conntrack/ct-entry.js'
import type { HashReader } from '../maps/hash-reader.js'
import { Snat, SnatDirection, SnatKey } from '../nat/snat-entry.js'

export interface TopSource {
  /** IPv4, int32. */
  readonly address4: number
  readonly entries: number
}

export interface TopSources {
  /** The most first. */
  readonly sources: readonly TopSource[]
  /** Entries in the table. */
  readonly entries: number
}

export interface TopSourcesOptions {
  /** Sources in the answer; 10 unless given. */
  readonly limit?: number
  /** Sources counted at one time; 1024 unless given. */
  readonly candidates?: number
}

/** Whose entry it is. @param key and @param value as copied from the table */
export type SourceOf = (key: Int32Array, value: Int32Array) => number

const CANDIDATES_DEFAULT = 1024
const LIMIT_DEFAULT = 10
/** Slots between two pauses: about a millisecond. */
const SLOTS_PER_TURN = 16_384

/** Of the connection table: who opened the connection. */
export const connectionSource: SourceOf = (key) => key[CtKey.SOURCE] as number

/** Of the NAT table: the sender behind the mapping, whichever half of it this is. */
export const mappingSource: SourceOf = (key, value) => {
  const isReverse = ((key[SnatKey.PROTOCOL] as number) & SnatDirection.IN) !== 0
  return (isReverse ? value[Snat.ADDRESS] : key[SnatKey.SOURCE]) as number
}

/** Resolves when the table has been walked; the event loop has turns in between. */
export async function readTopSources(
  table: HashReader,
  sourceOf: SourceOf,
  options: TopSourcesOptions = {},
): Promise<TopSources> {
  const candidates = new Candidates(options.candidates ?? CANDIDATES_DEFAULT)
  let entries = await walk(table, sourceOf, (address4) => candidates.add(address4))
  const { counts } = candidates
  if (candidates.hasForgotten) {
    for (const address4 of counts.keys()) counts.set(address4, 0)
    entries = await walk(table, sourceOf, (address4) => {
      const count = counts.get(address4)
      if (count !== undefined) counts.set(address4, count + 1)
    })
  }
  const all = [...counts].map(([address4, count]) => ({ address4, entries: count }))
  const sources = all.sort((a, b) => b.entries - a.entries)
  return { entries, sources: sources.slice(0, options.limit ?? LIMIT_DEFAULT) }
}

/** Returns how many entries there were. */
async function walk(
  table: HashReader,
  sourceOf: SourceOf,
  visit: (address4: number) => void,
): Promise<number> {
  const key = new Int32Array(table.spec.keyWords)
  const value = new Int32Array(table.spec.valueWords)
  let entries = 0
  for (let start = 0; start < table.slotCount; start += SLOTS_PER_TURN) {
    const end = Math.min(start + SLOTS_PER_TURN, table.slotCount)
    for (let slot = start; slot < end; slot++) {
      if (!table.read(slot, key, value)) continue
      entries++
      visit(sourceOf(key, value))
    }
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  return entries
}

class Candidates {
  readonly #size: number
  readonly counts = new Map<number, number>()
  /** The counts are too low. */
  hasForgotten = false

  constructor(size: number) {
    this.#size = size
  }

  /** One visit in `size` costs as much as `size` others: each visit adds one, and this takes one off. */
  add(address4: number): void {
    const count = this.counts.get(address4)
    if (count !== undefined || this.counts.size < this.#size) {
      this.counts.set(address4, (count ?? 0) + 1)
      return
    }
    this.hasForgotten = true
    for (const [other, otherCount] of this.counts) {
      if (otherCount === 1) this.counts.delete(other)
      else this.counts.set(other, otherCount - 1)
    }
  }
}
