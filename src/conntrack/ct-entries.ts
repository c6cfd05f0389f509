/**
 * The connection table's entries as a lookup finds them: where one lies, and what it says besides
 * the state of its connection.
 */
import { assert } from '../base/assert.js'
import { GENERATION_SHIFT } from '../maps/hash-layout.js'
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { NOT_FOUND, type Slot } from '../maps/map.js'
import { Protocol } from '../wire/protocols.js'
import {
  CLOSING_BOTH,
  CT4_KEY_WORDS,
  Ct,
  CtDirection,
  CtFlag,
  CtKey,
  CtState,
  type CtTimeouts,
  lifetimeSeconds,
} from './ct-entry.js'
import { CtJournal } from './ct-journal.js'
import { countTraffic, countTrafficShared } from './ct-traffic.js'

/** In `Ct.POLICY`: none has allowed the connection yet. */
const NO_POLICY = 0
/** Behind the state word and the key. */
const VALUE = 1 + CT4_KEY_WORDS
/** An entry is one cache line: 16 words. */
export const ENTRY_SHIFT = 4

export class CtEntries {
  readonly words: Int32Array
  readonly #start: number
  /** Other workers have the table too. */
  readonly #isShared: boolean
  protected readonly timeouts: CtTimeouts
  /** What the packet at hand made of the table. */
  protected readonly journal: CtJournal

  /** Of the last lookup: the entry found, or NOT_FOUND. */
  slot: Slot = NOT_FOUND
  /** Of that entry: tells it from one that another worker puts in its slot. */
  protected generation = 0
  /** Of that entry, read while it was surely this one: its words REV_NAT and STATE. */
  protected foundRevNat = 0
  protected foundState = 0

  /** @param isShared several workers count the packets of one connection */
  constructor(table: LruHashMap, timeouts: CtTimeouts, isShared: boolean) {
    this.words = table.words
    this.#isShared = isShared
    this.timeouts = timeouts
    this.#start = table.entriesStart
    this.journal = new CtJournal(table)
    assert(table.entryWords === 1 << ENTRY_SHIFT, 'a connection entry is one cache line')
  }

  valueStart(slot: Slot): number {
    return (this.#start + (slot << ENTRY_SHIFT) + VALUE) | 0
  }

  /**
   * Whether the entry found last is still in its slot: in a full table another worker may evict it
   * at any time. What was read before this was true is the entry's own.
   */
  get isThere(): boolean {
    const state = this.words[this.valueStart(this.slot) - VALUE] as number
    return state >>> GENERATION_SHIFT === this.generation
  }

  /** Of the entry found last: the service it goes through, 0 for none. */
  get revNatIndex(): number {
    return this.foundRevNat >>> 16
  }

  /** Of the entry found last: it is a pod's connection to itself through a service. */
  get isLoopback(): boolean {
    return (this.foundState & CtState.LOOPBACK) !== 0
  }

  /** Of the entry found last: it is of a client that came through a service of this node. */
  get isNodePort(): boolean {
    return (this.foundState & CtState.NODE_PORT) !== 0
  }

  /** Of the entry found last: no lifetime but that of a closing connection is left to it. */
  protected get isClosing(): boolean {
    const entry = this.valueStart(this.slot)
    return ((this.words[entry + Ct.STATE] as number) & CLOSING_BOTH) === CLOSING_BOTH
  }

  /** Of the SERVICE entry found last. */
  get backendId(): number {
    return this.words[this.valueStart(this.slot) + Ct.BACKEND] as number
  }

  /** Gives the SERVICE entry found last another backend, if it is still there. */
  setBackend(backendId: number, revNatIndex: number): void {
    const { words } = this
    const entry = this.valueStart(this.slot)
    const before = words[entry + Ct.BACKEND] as number
    // Another connection has the slot by now: its word at BACKEND may be a policy.
    if (!this.isThere) return
    this.journal.changed(this.slot, this.generation, words, entry)
    if (Atomics.compareExchange(words, entry + Ct.BACKEND, before, backendId) !== before) return
    words[entry + Ct.REV_NAT] = revNatIndex << 16
    this.foundRevNat = revNatIndex << 16
  }

  /**
   * Did this policy allow the connection of the last lookup, with this identity at the other end?
   */
  isAllowedBy(policy: number, identity: number, revNatIndex: number): boolean {
    const entry = this.valueStart(this.slot)
    const table = this.words
    return (
      table[entry + Ct.POLICY] === policy &&
      table[entry + Ct.POLICY_IDENTITY] === identity &&
      (table[entry + Ct.REV_NAT] as number) >>> 16 === revNatIndex &&
      this.isThere
    )
  }

  /** Notes that it did, so that the next packet need not ask the policy again. */
  allowBy(policy: number, identity: number): void {
    const entry = this.valueStart(this.slot)
    if (this.#isShared) {
      this.#allowShared(entry, policy, identity)
      return
    }
    this.words[entry + Ct.POLICY] = policy
    this.words[entry + Ct.POLICY_IDENTITY] = identity
  }

  /**
   * The same where another worker may give the slot to another connection at any time, which is to ask
   * for itself; a service has its backend in the policy's word. While the word names no policy, the
   * identity means nothing.
   */
  #allowShared(entry: number, policy: number, identity: number): void {
    const { words } = this
    const at = entry + Ct.POLICY
    const before = words[at] as number
    if (!this.isThere) return
    const isCleared =
      before === NO_POLICY || Atomics.compareExchange(words, at, before, NO_POLICY) === before
    if (!isCleared) return
    words[entry + Ct.POLICY_IDENTITY] = identity
    if (Atomics.compareExchange(words, at, NO_POLICY, policy) !== NO_POLICY) return
    // The exchange is a fence: this look does not come before it.
    if (this.isThere && words[entry + Ct.POLICY_IDENTITY] === identity) return
    Atomics.compareExchange(words, at, policy, NO_POLICY)
  }

  /**
   * Adds packets that passed without a lookup to a visited entry, unless it is another's by now, and
   * lets it live as long as if the last of them had been looked up.
   *
   * @param state its state word at that time
   * @param lastSeconds when the last of them passed
   * @returns false when it is another's, or nobody's, or closed on both sides
   */
  account(slot: Slot, state: number, packets: number, bytes: number, lastSeconds: number): boolean {
    if (this.words[this.#start + (slot << ENTRY_SHIFT)] !== state) return false
    const entry = this.valueStart(slot)
    this.count(entry, packets, bytes)
    const table = this.words
    const flags = table[entry + Ct.STATE] as number
    if ((flags & CLOSING_BOTH) === CLOSING_BOTH) return false
    const protocol = table[entry - CT4_KEY_WORDS + CtKey.PROTOCOL] as number
    const isService = (protocol & CtFlag.SERVICE) !== 0
    const direction = isService ? CtDirection.SERVICE : CtDirection.EGRESS
    const lifetime = lifetimeSeconds(
      this.timeouts,
      direction,
      (protocol & 0xff) === Protocol.TCP,
      flags,
    )
    const expires = lastSeconds + lifetime
    if ((table[entry + Ct.EXPIRES] as number) < expires) table[entry + Ct.EXPIRES] = expires
    this.endIfClosed(entry, lastSeconds)
    return true
  }

  /**
   * After a store of when an open connection expires: both sides may have closed it meanwhile, on another
   * worker, whose word about its end the store wrote over.
   */
  protected endIfClosed(entry: number, nowSeconds: number): void {
    const table = this.words
    const flags = table[entry + Ct.STATE] as number
    if ((flags & CLOSING_BOTH) !== CLOSING_BOTH) return
    table[entry + Ct.EXPIRES] = nowSeconds + this.timeouts.closeSeconds
  }

  protected count(entry: number, packets: number, bytes: number): void {
    if (this.#isShared) countTrafficShared(this.words, entry, packets, bytes)
    else countTraffic(this.words, entry, packets, bytes)
  }
}
