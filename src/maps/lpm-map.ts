/**
 * Longest prefix match over 128-bit addresses (BPF_MAP_TYPE_LPM_TRIE); IPv4 is ::ffff:a.b.c.d, and
 * a prefix such as ::/0 covers it too. Each prefix is an entry of a hash map, so that its slot is
 * stable.
 *
 * IPv4 addresses are answered by tables (lpm-tables.ts). Others are looked up in the hash map, one
 * probe for each prefix length in use from the longest down: a node knows few lengths (/128, /64,
 * /48 …).
 *
 * Readers take no lock. Each step of a change leaves the old answer or the new one, and a lookup
 * during which a change began is made again, so that it never mixes two changes, nor follows a
 * table that was put to another use. One writer at a time; what a killed one left is completed by
 * the next. `update` of a short prefix may write some thousand cells.
 */
import { HashMap } from './hash-map.js'
import { copy } from './hash-reader.js'
import {
  ADDRESS_BITS,
  ADDRESS_WORDS,
  LpmHeader,
  type LpmLayout,
  lpmLayout,
  MAPPED_BITS,
  MAPPED_WORD,
  PREFIX_LENGTH,
  PREFIX_WORDS,
} from './lpm-layout.js'
import { LpmTables } from './lpm-tables.js'
import {
  EXISTS,
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
  Header,
  openWords,
  publishWords,
  wrongSpec,
} from './map-header.js'
import { KEEPS_ORDER } from './processor.js'
import { ChangeCount } from './revision.js'
import { SegmentLocks } from './segment-lock.js'

const { EPOCH, LENGTHS } = LpmHeader

/** Lookups made again because of changes; a change takes longer than some lookups. */
const TRIES_MAX = 100
const WRITER = 0

/** Of the map of the prefixes inside. Its changes are changes of the whole only when the tables say so, too. */
function entriesOptions(spec: MapSpec, { total: _, ...options }: MapOptions): MapOptions {
  return { ...options, byteOffset: (options.byteOffset ?? 0) + lpmLayout(spec).hashStart * 4 }
}

export class LpmMap implements FixedMap {
  readonly spec: MapSpec
  readonly words: Int32Array
  readonly capacity: number
  readonly changes: ChangeCount
  readonly #again: Int32Array
  readonly #layout: LpmLayout
  readonly #tables: LpmTables
  readonly #entries: HashMap
  readonly #lock: SegmentLocks
  /** Scratch of lookups, and of the writer. */
  readonly #probe = new Int32Array(PREFIX_WORDS)
  readonly #prefix = new Int32Array(PREFIX_WORDS)

  private constructor(words: Int32Array, spec: MapSpec, entries: HashMap, options: MapOptions) {
    this.words = words
    this.changes = new ChangeCount(words, options)
    this.#again = new Int32Array(words.buffer, words.byteOffset, words.length)
    this.spec = spec
    this.capacity = spec.maxEntries
    this.#layout = lpmLayout(spec)
    this.#entries = entries
    this.#tables = new LpmTables(words, this.#layout, entries)
    this.#lock = new SegmentLocks(words, LpmHeader.LOCK, options)
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
    const entries = HashMap.create(lpmLayout(spec).hashSpec, buffer, entriesOptions(spec, options))
    const map = new LpmMap(words, spec, entries, options)
    map.#tables.collectTables()
    publishWords(words)
    return map
  }

  static open(buffer: ArrayBufferLike, expected?: MapSpec, options: MapOptions = {}): LpmMap {
    const { words, spec } = openWords(buffer, MapType.LPM, LpmMap.wordsFor, expected, options)
    const entries = HashMap.open(buffer, lpmLayout(spec).hashSpec, entriesOptions(spec, options))
    return new LpmMap(words, spec, entries, options)
  }

  get size(): number {
    return this.#entries.size
  }

  /** No prefix is there: what most nodes have of most kinds, and cheaper to ask than a lookup. */
  get isEmpty(): boolean {
    return this.#entries.isEmpty
  }

  /** Tables not in use; an IPv4 prefix longer than /16 needs at most two. */
  get freeTables(): number {
    return Atomics.load(this.words, LpmHeader.FREE_TABLES)
  }

  /**
   * The entry of the longest prefix that covers the four address words at `start`, or NOT_FOUND.
   */
  lookup(address: Int32Array, start: number): Slot {
    let slot = NOT_FOUND
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const epoch = this.#epoch()
      slot = this.#lookupOnce(address, start)
      if (this.#epochAgain() === epoch) break
    }
    return slot
  }

  /**
   * The same, and the first words of the entry's value, as many as `into` has, as they were at one moment:
   * surely of a prefix that covers the address, where a slot from `lookup` may be another prefix's by
   * the time its value is read.
   */
  lookupInto(address: Int32Array, start: number, into: Int32Array): Slot {
    const entries = this.#entries
    let slot = NOT_FOUND
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const epoch = this.#epoch()
      slot = this.#lookupOnce(address, start)
      let isWhole = true
      if (slot !== NOT_FOUND) {
        // A change that began before the epoch was read may be writing this very value: it has none then.
        const generation = entries.generation(slot)
        copy(entries.words, entries.valueStart(slot), into, into.length)
        isWhole = generation !== 0 && entries.generation(slot) === generation
      }
      if (isWhole && this.#epochAgain() === epoch) break
    }
    return slot
  }

  /** The slot of exactly this prefix, or NOT_FOUND; bits behind the prefix are ignored. */
  find(address: Int32Array, prefixLength: number): Slot {
    this.#mask(this.#probe, address, 0, this.#checkedLength(prefixLength))
    return this.#entries.lookup(this.#probe)
  }

  valueStart(slot: Slot): number {
    return this.#layout.hashStart + this.#entries.valueStart(slot)
  }

  /** Index in `words` of an entry's key: four address words and the prefix length, 0 to 128. */
  keyStart(slot: Slot): number {
    return this.#layout.hashStart + this.#entries.keyStart(slot)
  }

  /** All entries, for dumps. */
  slots(): Generator<Slot> {
    return this.#entries.slots()
  }

  /**
   * Copies prefix (five words) and value as they were at one moment; false when the slot holds no
   * entry.
   */
  read(slot: Slot, prefix: Int32Array, value: Int32Array): boolean {
    return this.#entries.read(slot, prefix, value)
  }

  /**
   * The entry's slot; EXISTS or NOT_FOUND by the flag; FULL without room for an entry or a table.
   * Bits behind the prefix are ignored.
   */
  update(
    address: Int32Array,
    prefixLength: number,
    value: Int32Array,
    flag: UpdateFlag = UpdateFlag.ANY,
  ): Slot {
    this.#mask(this.#prefix, address, 0, this.#checkedLength(prefixLength))
    this.#begin()
    const slot = this.#updateLocked(value, flag)
    this.#end()
    if (slot >= 0) this.changes.mark()
    if (slot === FULL) Atomics.add(this.words, Header.REFUSED, 1)
    return slot
  }

  /** True when this prefix was there. */
  delete(address: Int32Array, prefixLength: number): boolean {
    this.#mask(this.#prefix, address, 0, this.#checkedLength(prefixLength))
    this.#begin()
    const slot = this.#entries.lookup(this.#prefix)
    if (slot !== NOT_FOUND) {
      this.#withdraw(slot)
      this.#entries.delete(this.#prefix)
      this.#countLength(-1)
    }
    this.#end()
    if (slot !== NOT_FOUND) this.changes.mark()
    return slot !== NOT_FOUND
  }

  #epoch(): number {
    if (KEEPS_ORDER) return this.words[EPOCH] as number
    return Atomics.load(this.words, EPOCH)
  }

  #epochAgain(): number {
    if (KEEPS_ORDER) return this.#again[EPOCH] as number
    return Atomics.or(this.words, EPOCH, 0)
  }

  #lookupOnce(address: Int32Array, start: number): Slot {
    const isIpv4 =
      address[start + 2] === MAPPED_WORD && address[start] === 0 && address[start + 1] === 0
    if (isIpv4) return this.#tables.lookup(address[start + 3] as number)
    for (let word = ADDRESS_WORDS; word >= 0; word--) {
      let lengths = this.words[LENGTHS + word] as number
      while (lengths !== 0) {
        const bit = 31 - Math.clz32(lengths)
        lengths &= ~(1 << bit)
        this.#mask(this.#probe, address, start, word * 32 + bit)
        const slot = this.#entries.lookup(this.#probe)
        if (slot !== NOT_FOUND) return slot
      }
    }
    return NOT_FOUND
  }

  #updateLocked(value: Int32Array, flag: UpdateFlag): Slot {
    const prefix = this.#prefix
    const found = this.#entries.lookup(prefix)
    if (found !== NOT_FOUND) {
      return flag === UpdateFlag.NO_EXIST ? EXISTS : this.#entries.update(prefix, value, flag)
    }
    if (flag === UpdateFlag.EXIST) return NOT_FOUND
    if (!this.#hasTables()) return FULL
    const slot = this.#entries.update(prefix, value, UpdateFlag.ANY)
    if (slot < 0) return slot
    this.#countLength(1)
    this.#spread(slot)
    return slot
  }

  /** Whether there are tables enough for the prefix. */
  #hasTables(): boolean {
    const prefix = this.#prefix
    if ((prefix[PREFIX_LENGTH] as number) < MAPPED_BITS || !isIpv4(prefix)) return true
    return this.#tables.hasRoomFor(prefix[3] as number, bitsOf(prefix))
  }

  /** What is left to do for an entry that is in the hash map: let lookups of IPv4 find it. */
  #spread(slot: Slot): void {
    const prefix = this.#prefix
    if (!isIpv4(prefix)) return
    const length = prefix[PREFIX_LENGTH] as number
    if (length < MAPPED_BITS) this.#tables.spreadEverywhere(slot, length)
    else this.#tables.spread(prefix[3] as number, bitsOf(prefix), slot)
  }

  #withdraw(slot: Slot): void {
    const prefix = this.#prefix
    if (!isIpv4(prefix)) return
    const cover = this.#coverOf()
    if ((prefix[PREFIX_LENGTH] as number) < MAPPED_BITS) {
      this.#tables.withdrawEverywhere(slot, cover)
    } else {
      this.#tables.withdraw(prefix[3] as number, bitsOf(prefix), slot, cover)
    }
  }

  /** Slot of the longest shorter prefix that covers this one for IPv4, or NOT_FOUND. */
  #coverOf(): Slot {
    const prefix = this.#prefix
    // A prefix below /96 is kept with zeros where IPv4 has its mark, which cuts no bit that counts.
    for (let length = (prefix[PREFIX_LENGTH] as number) - 1; length >= 0; length--) {
      this.#mask(this.#probe, prefix, 0, length)
      const slot = this.#entries.lookup(this.#probe)
      if (slot !== NOT_FOUND) return slot
    }
    return NOT_FOUND
  }

  /**
   * Prefixes of IPv4 alone are not counted: lookups of other addresses need not try their lengths.
   */
  #countLength(by: number): void {
    const length = this.#prefix[PREFIX_LENGTH] as number
    if (length >= MAPPED_BITS && isIpv4(this.#prefix)) return
    const at = this.#layout.countsStart + length
    this.words[at] = (this.words[at] as number) + by
    this.#showLength(length)
  }

  /** Lets lookups try a length, or leave it out, as it is in use or not. */
  #showLength(length: number): void {
    const isInUse = (this.words[this.#layout.countsStart + length] as number) > 0
    const at = LENGTHS + (length >> 5)
    const bit = 1 << (length & 31)
    const lengths = this.words[at] as number
    Atomics.store(this.words, at, isInUse ? lengths | bit : lengths & ~bit)
  }

  /** Takes the lock, in good order, and tells readers that a change begins. */
  #begin(): void {
    while (this.#lock.acquire(WRITER)) {
      this.#repair()
      this.#lock.release(WRITER)
    }
    Atomics.add(this.words, EPOCH, 1)
  }

  #end(): void {
    if (this.#lock.release(WRITER)) return
    // Taken over while this thread stood still: two writers may have met.
    this.#lock.acquire(WRITER)
    this.#repair()
    this.#lock.release(WRITER)
  }

  /**
   * After a takeover: each entry is spread again, which completes a begun insertion and takes back
   * a begun deletion; lengths are counted, and tables collected, anew. An entry whose value was
   * half written is gone; so is one without tables left, which only two writers at once can make.
   */
  #repair(): void {
    Atomics.add(this.words, EPOCH, 1)
    const kept = this.#prefix.slice()
    this.#entries.recount()
    this.#tables.collectTables()
    this.words.fill(0, this.#layout.countsStart, this.#layout.countsStart + ADDRESS_BITS + 1)
    const value = new Int32Array(this.spec.valueWords)
    for (const slot of this.#entries.slots()) {
      if (!this.#entries.read(slot, this.#prefix, value)) continue
      if (this.#hasTables()) {
        this.#countLength(1)
        this.#spread(slot)
      } else this.#entries.delete(this.#prefix)
    }
    for (let length = 0; length <= ADDRESS_BITS; length++) this.#showLength(length)
    this.#prefix.set(kept)
  }

  #mask(into: Int32Array, address: Int32Array, start: number, prefixLength: number): void {
    for (let i = 0; i < ADDRESS_WORDS; i++) {
      const bits = prefixLength - 32 * i
      const mask = bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits)
      into[i] = (address[start + i] as number) & mask
    }
    into[PREFIX_LENGTH] = prefixLength
  }

  #checkedLength(prefixLength: number): number {
    if (Number.isInteger(prefixLength) && prefixLength >= 0 && prefixLength <= ADDRESS_BITS) {
      return prefixLength
    }
    throw wrongSpec(this.spec, 'prefixLength', prefixLength, `0 to ${ADDRESS_BITS}`)
  }
}

/** Whether the prefix covers IPv4 addresses: it lies in ::ffff:0:0/96, or that lies in it. */
function isIpv4(prefix: Int32Array): boolean {
  if (prefix[0] !== 0 || prefix[1] !== 0) return false
  const length = prefix[PREFIX_LENGTH] as number
  if (length >= MAPPED_BITS) return prefix[2] === MAPPED_WORD
  if (length <= 64) return true
  return prefix[2] === (MAPPED_WORD & (-1 << (MAPPED_BITS - length)))
}

function bitsOf(prefix: Int32Array): number {
  return (prefix[PREFIX_LENGTH] as number) - MAPPED_BITS
}
