/**
 * Longest prefix match over 128-bit addresses (BPF_MAP_TYPE_LPM_TRIE). Every prefix is an entry of a hash map, so its slot is stable; what
 * makes lookups fast are the tables that point to those slots.
 *
 * IPv4 (::ffff:a.b.c.d) is answered by three tables of 16, 8 and 8 bits (DIR-16-8-8: Gupta, Lin and McKeown, "Routing lookups in
 * hardware at memory access speeds", 1998), one to three loads. Other addresses are looked up in the hash, one probe for each
 * prefix length in use. A reader sees the old answer or the new one: each cell changes by one store.
 */
import { HashMap } from './hash-map.js'
import {
  type FixedMap,
  FULL,
  type MapOptions,
  type MapSpec,
  MapType,
  NOT_FOUND,
  type Slot,
  UpdateFlag,
} from './map.js'
import {
  boundedWords,
  checkSpec,
  createWords,
  HEADER_WORDS,
  Header,
  openWords,
  publishWords,
} from './map-header.js'
import { SegmentLock } from './segment-lock.js'

export const ADDRESS_BITS = 128
const MAPPED_BITS = 96
const MAPPED_WORD = 0xffff
const ROOT_CELLS = 1 << 16
const TABLE_CELLS = 1 << 8

/** Header words: tables ever handed out; length of the free list and its first cell; prefix lengths in use (5 words). */
const TABLES_USED = Header.OWN
const FREE_TABLES = Header.OWN + 1
const LENGTHS = Header.OWN + 2
const LOCK = Header.OWN + 8

/** Cells: 0 nothing, n > 0 the entry in slot n - 1, n < 0 the table -n - 1. */
const NOTHING = 0

interface LpmLayout {
  readonly tables: number
  readonly rootStart: number
  readonly freeStart: number
  readonly tablesStart: number
  readonly hashStart: number
  readonly totalWords: number
  readonly hashSpec: MapSpec
}

function lpmLayout(spec: MapSpec): LpmLayout {
  const tables = spec.tables || Math.min(65_536, Math.max(64, spec.maxEntries >> 2))
  const hashSpec: MapSpec = {
    name: 'prefixes',
    type: MapType.HASH,
    keyWords: 5,
    valueWords: spec.valueWords,
    maxEntries: spec.maxEntries,
  }
  const rootStart = HEADER_WORDS
  const freeStart = rootStart + ROOT_CELLS
  const tablesStart = freeStart + Math.ceil(tables / 16) * 16
  const hashStart = tablesStart + tables * TABLE_CELLS
  const totalWords = hashStart + HashMap.wordsFor(hashSpec)
  return { tables, rootStart, freeStart, tablesStart, hashStart, totalWords, hashSpec }
}

export class LpmMap implements FixedMap {
  readonly spec: MapSpec
  readonly words: Int32Array
  readonly capacity: number
  readonly #layout: LpmLayout
  readonly #rootStart: number
  readonly #tablesStart: number
  readonly #entries: HashMap
  readonly #entryOffset: number
  readonly #lock: SegmentLock
  readonly #key = new Int32Array(5)

  private constructor(words: Int32Array, spec: MapSpec, entries: HashMap, options: MapOptions) {
    this.words = words
    this.spec = spec
    this.capacity = spec.maxEntries
    this.#layout = lpmLayout(spec)
    this.#rootStart = this.#layout.rootStart
    this.#tablesStart = this.#layout.tablesStart
    this.#entries = entries
    this.#entryOffset = this.#layout.hashStart
    this.#lock = new SegmentLock(words, LOCK, options)
  }

  static wordsFor(spec: MapSpec): number {
    checkSpec(spec, MapType.LPM)
    return boundedWords(spec, lpmLayout(spec).totalWords)
  }

  static bytesFor(spec: MapSpec): number {
    return LpmMap.wordsFor(spec) * 4
  }

  static create(spec: MapSpec, buffer: ArrayBufferLike, options: MapOptions = {}): LpmMap {
    const words = createWords(spec, buffer, LpmMap.wordsFor(spec), options)
    const { hashSpec, hashStart } = lpmLayout(spec)
    const byteOffset = (options.byteOffset ?? 0) + hashStart * 4
    const entries = HashMap.create(hashSpec, buffer, { ...options, byteOffset })
    publishWords(words)
    return new LpmMap(words, spec, entries, options)
  }

  static open(buffer: ArrayBufferLike, expected?: MapSpec, options: MapOptions = {}): LpmMap {
    const { words, spec } = openWords(buffer, MapType.LPM, LpmMap.wordsFor, expected, options)
    const { hashSpec, hashStart } = lpmLayout(spec)
    const byteOffset = (options.byteOffset ?? 0) + hashStart * 4
    return new LpmMap(
      words,
      spec,
      HashMap.open(buffer, hashSpec, { ...options, byteOffset }),
      options,
    )
  }

  get size(): number {
    return this.#entries.size
  }

  /** The entry of the longest prefix that covers the four address words at `start`, or NOT_FOUND. */
  lookup(address: Int32Array, start: number): Slot {
    const isIpv4 =
      address[start + 2] === MAPPED_WORD && address[start] === 0 && address[start + 1] === 0
    if (!isIpv4) return this.#lookupByLengths(address, start)
    const words = this.words
    const ip = address[start + 3] as number
    let cell = words[this.#rootStart + (ip >>> 16)] as number
    if (cell < 0) cell = words[this.#cellOf(cell, (ip >>> 8) & 0xff)] as number
    if (cell < 0) cell = words[this.#cellOf(cell, ip & 0xff)] as number
    return cell - 1
  }

  valueStart(slot: Slot): number {
    return this.#entryOffset + this.#entries.valueStart(slot)
  }

  /** Index in `words` of an entry's key: four address words and the prefix length, 0 to 128. */
  keyStart(slot: Slot): number {
    return this.#entryOffset + this.#entries.keyStart(slot)
  }

  /** All entries, for dumps. */
  slots(): Generator<Slot> {
    return this.#entries.slots()
  }

  /** The entry's slot, or FULL; bits behind the prefix are ignored. */
  update(address: Int32Array, prefixLength: number, value: Int32Array): Slot {
    this.#lock.acquire(0)
    const key = this.#keyOf(address, prefixLength)
    const isNew = this.#entries.lookup(key) === NOT_FOUND
    let slot = this.#entries.update(key, value, UpdateFlag.ANY)
    if (slot >= 0 && isNew) {
      if (this.#isIpv4(key, prefixLength) && !this.#spread(key, prefixLength, slot)) {
        this.#replace(key, prefixLength, slot, this.#coverOf(key, prefixLength))
        this.#entries.delete(key)
        slot = FULL
      } else {
        const word = LENGTHS + (prefixLength >> 5)
        this.words[word] = (this.words[word] as number) | (1 << (prefixLength & 31))
      }
    }
    this.#lock.release(0)
    return slot
  }

  delete(address: Int32Array, prefixLength: number): boolean {
    this.#lock.acquire(0)
    const key = this.#keyOf(address, prefixLength)
    const slot = this.#entries.lookup(key)
    if (slot !== NOT_FOUND) {
      if (this.#isIpv4(key, prefixLength)) {
        this.#replace(key, prefixLength, slot, this.#coverOf(key, prefixLength))
      }
      this.#entries.delete(key)
    }
    this.#lock.release(0)
    return slot !== NOT_FOUND
  }

  #lookupByLengths(address: Int32Array, start: number): Slot {
    for (let word = 4; word >= 0; word--) {
      let lengths = this.words[LENGTHS + word] as number
      while (lengths !== 0) {
        const bit = 31 - Math.clz32(lengths)
        lengths &= ~(1 << bit)
        this.#writeKey(address, start, word * 32 + bit)
        const slot = this.#entries.lookup(this.#key)
        if (slot !== NOT_FOUND) return slot
      }
    }
    return NOT_FOUND
  }

  #writeKey(address: Int32Array, start: number, prefixLength: number): void {
    for (let i = 0; i < 4; i++) {
      const bits = Math.min(32, Math.max(0, prefixLength - 32 * i))
      const mask = bits === 0 ? 0 : -1 << (32 - bits)
      this.#key[i] = (address[start + i] as number) & mask
    }
    this.#key[4] = prefixLength
  }

  #keyOf(address: Int32Array, prefixLength: number): Int32Array {
    this.#writeKey(address, 0, prefixLength)
    return this.#key.slice()
  }

  #isIpv4(key: Int32Array, prefixLength: number): boolean {
    if (prefixLength >= MAPPED_BITS) return key[0] === 0 && key[1] === 0 && key[2] === MAPPED_WORD
    // A shorter prefix that covers ::ffff:0:0/96 covers all of IPv4.
    this.#writeKey(Int32Array.of(0, 0, MAPPED_WORD, 0), 0, prefixLength)
    return [0, 1, 2, 3].every((i) => this.#key[i] === key[i])
  }

  #cellOf(cell: number, index: number): number {
    return this.#tablesStart + (-cell - 1) * TABLE_CELLS + index
  }

  /** Slot of the longest shorter prefix that covers this one, or NOT_FOUND. */
  #coverOf(key: Int32Array, prefixLength: number): Slot {
    for (let length = prefixLength - 1; length >= 0; length--) {
      this.#writeKey(key, 0, length)
      const slot = this.#entries.lookup(this.#key)
      if (slot !== NOT_FOUND) return slot
    }
    return NOT_FOUND
  }

  /** Writes the slot into all cells it is the longest prefix for; false when tables ran out, with some cells written. */
  #spread(key: Int32Array, prefixLength: number, slot: Slot): boolean {
    const bits = Math.max(0, prefixLength - MAPPED_BITS)
    const ip = bits === 0 ? 0 : (key[3] as number)
    const write = (at: number): void => this.#writeCells(at, 1, slot, prefixLength)
    if (bits <= 16) {
      this.#writeCells(this.#rootStart + (ip >>> 16), 1 << (16 - bits), slot, prefixLength)
      return true
    }
    const second = this.#tableAt(this.#rootStart + (ip >>> 16))
    if (second === NOTHING) return false
    const at = this.#cellOf(second, (ip >>> 8) & 0xff)
    if (bits <= 24) {
      this.#writeCells(at, 1 << (24 - bits), slot, prefixLength)
      return true
    }
    const third = this.#tableAt(at)
    if (third === NOTHING) return false
    for (let i = 0; i < 1 << (32 - bits); i++) write(this.#cellOf(third, (ip & 0xff) + i))
    return true
  }

  #writeCells(start: number, count: number, slot: Slot, prefixLength: number): void {
    for (let at = start; at < start + count; at++) {
      const cell = this.words[at] as number
      if (cell < 0) this.#writeCells(this.#cellOf(cell, 0), TABLE_CELLS, slot, prefixLength)
      else if (this.#lengthOf(cell) <= prefixLength) this.words[at] = slot + 1
    }
  }

  #lengthOf(cell: number): number {
    return cell === NOTHING ? -1 : (this.words[this.keyStart(cell - 1) + 4] as number)
  }

  /** The table behind a cell, made if need be with the cell's own answer everywhere; NOTHING when there is none left. */
  #tableAt(at: number): number {
    const cell = this.words[at] as number
    if (cell < 0) return cell
    const table = this.#takeTable()
    if (table === NOTHING) return NOTHING
    const start = this.#cellOf(table, 0)
    this.words.fill(cell, start, start + TABLE_CELLS)
    Atomics.store(this.words, at, table)
    return table
  }

  #takeTable(): number {
    const used = this.words[TABLES_USED] as number
    if (used < this.#layout.tables) {
      this.words[TABLES_USED] = used + 1
      return -used - 1
    }
    const free = this.words[FREE_TABLES] as number
    if (free === 0) return NOTHING
    this.words[FREE_TABLES] = free - 1
    return this.words[this.#layout.freeStart + free - 1] as number
  }

  /** Everywhere under the prefix: `slot` becomes `cover`; tables that then say one thing only are given back. */
  #replace(key: Int32Array, prefixLength: number, slot: Slot, cover: Slot): void {
    const bits = Math.max(0, prefixLength - MAPPED_BITS)
    const ip = bits === 0 ? 0 : (key[3] as number)
    const count = bits >= 16 ? 1 : 1 << (16 - bits)
    const start = this.#rootStart + (ip >>> 16)
    for (let at = start; at < start + count; at++) this.#replaceCell(at, slot + 1, cover + 1)
  }

  #replaceCell(at: number, from: number, to: number): void {
    const cell = this.words[at] as number
    if (cell === from) this.words[at] = to
    if (cell >= 0) return
    const start = this.#cellOf(cell, 0)
    for (let i = 0; i < TABLE_CELLS; i++) this.#replaceCell(start + i, from, to)
    const first = this.words[start] as number
    if (first < 0) return
    for (let i = 1; i < TABLE_CELLS; i++) if (this.words[start + i] !== first) return
    Atomics.store(this.words, at, first)
    const free = this.words[FREE_TABLES] as number
    this.words[this.#layout.freeStart + free] = cell
    this.words[FREE_TABLES] = free + 1
  }
}
