/**
 * Connection tracking with Cilium's state machine (bpf/lib/conntrack.h): is a packet the first of a
 * flow, a further one, a reply, or an ICMP error about one, and how long is the flow to be
 * remembered?
 *
 * A flow between two pods of a node has two entries, as in Cilium: one made on its way out of the
 * first pod (OUT), one on its way into the second (IN), each with the policy decision of its side.
 * What it does not do: follow sequence numbers.
 *
 * The two directions of a flow may meet different workers, which then update one entry at once: flags
 * are or-ed and packets added atomically, of times the last one counts (docs/adr/0015).
 */
import { EMPTY, GENERATION_SHIFT, KEY_BUSY } from '../maps/hash-layout.js'
import { REREADS_MAX } from '../maps/hash-reader.js'
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { NOT_FOUND, type Slot, UpdateFlag } from '../maps/map.js'
import { Protocol } from '../wire/protocols.js'
import * as tcp from '../wire/tcp.js'
import { TUPLE_WORDS, TupleWord, writeTurned } from '../wire/tuple.js'
import { CtEntries, ENTRY_SHIFT } from './ct-entries.js'
import {
  CLOSING_BOTH,
  CT_TIMEOUTS,
  CT4_KEY_WORDS,
  Ct,
  CtDirection,
  CtKey,
  CtResult,
  CtState,
  type CtTimeouts,
  isCloseAction,
  isCreateAction,
  LASTING,
  lifetimeSeconds,
  otherSideOf,
  RX_FLAGS_SHIFT,
  sideOf,
  TX_FLAGS_SHIFT,
} from './ct-entry.js'
import { VisitedEntries } from './ct-traffic.js'
import { flowHash } from './flow-hash.js'

const NO_BACKEND_ID = 0
/** Words of an entry, which begins with its state word. */
const SOURCE = 1 + CtKey.SOURCE
const DESTINATION = 1 + CtKey.DESTINATION
const PORTS = 1 + CtKey.PORTS
const PROTOCOL = 1 + CtKey.PROTOCOL
const STATE = 1 + CT4_KEY_WORDS + Ct.STATE
const REV_NAT = 1 + CT4_KEY_WORDS + Ct.REV_NAT

export class Conntrack extends CtEntries {
  readonly #table: LruHashMap
  readonly #key = new Int32Array(CT4_KEY_WORDS)
  readonly #turned = new Int32Array(TUPLE_WORDS)
  readonly #value: Int32Array
  readonly seed: number
  /** Entries that the table may hold. */
  readonly capacity: number
  // Of the table, kept here because a lookup reads them all.
  readonly #slotMask: number
  readonly #segmentMask: number
  readonly #entriesStart: number

  /** Entries that the present packet has met; whoever begins with a packet clears it. */
  readonly visited = new VisitedEntries()
  /**
   * Of the last lookup: the packet is worth an event (first of its kind, or the report interval is
   * over).
   */
  isMonitored = false

  /** @param isShared several workers count the packets of one connection */
  constructor(table: LruHashMap, timeouts: CtTimeouts = CT_TIMEOUTS, isShared = false) {
    super(table, timeouts, isShared)
    this.#table = table
    this.#value = new Int32Array(table.spec.valueWords)
    this.seed = table.seed
    this.capacity = table.spec.maxEntries
    this.#slotMask = table.slotMask
    this.#segmentMask = table.segmentMask
    this.#entriesStart = table.entriesStart
  }

  /**
   * Reads the line that a lookup with this hash begins at, so that its cache miss overlaps others;
   * add up the results.
   */
  touch(hash: number): number {
    return this.words[this.#entriesStart + ((hash & this.#slotMask) << ENTRY_SHIFT)] as number
  }

  /**
   * Finds the connection of a packet and brings its entry up to date.
   *
   * @param start index of the packet's tuple in `words`
   * @param hash flowHash of the tuple
   * @param tcpFlags flag byte of a TCP packet, 0 of any other
   */
  lookup(
    words: Int32Array,
    start: number,
    hash: number,
    direction: CtDirection,
    tcpFlags: number,
    lengthBytes: number,
    nowSeconds: number,
  ): CtResult {
    this.isMonitored = true
    const found = this.#find(words, start, hash, direction)
    if (this.slot === NOT_FOUND) return CtResult.NEW
    const isTcp = ((words[start + TupleWord.PROTOCOL] as number) & 0xff) === Protocol.TCP
    const isNew = this.#update(direction, isTcp, tcpFlags, lengthBytes, nowSeconds)
    this.#visit(this.slot)
    return isNew ? CtResult.NEW : found
  }

  /**
   * Does an ICMP error that quotes this tuple belong to a known connection? It travels against the
   * packet it quotes, so it is looked up as a packet of the quoted flow's other direction.
   */
  lookupRelated(quoted: Int32Array, start: number, direction: CtDirection): CtResult {
    const turned = this.#turned
    writeTurned(turned, quoted, start)
    this.isMonitored = true
    this.#find(turned, 0, flowHash(turned, 0, this.seed), direction)
    return this.slot === NOT_FOUND ? CtResult.NEW : CtResult.RELATED
  }

  /**
   * Does a backend answer a client that came through a service of this node? If so its entry, which
   * `create` made with CtState.NODE_PORT, is found and brought up to date.
   */
  lookupNodePortReply(
    words: Int32Array,
    start: number,
    hash: number,
    tcpFlags: number,
    lengthBytes: number,
    nowSeconds: number,
  ): boolean {
    const direction = CtDirection.INGRESS
    const found = this.#find(words, start, hash, direction)
    if (found !== CtResult.REPLY || !this.isNodePort) return false
    const isTcp = ((words[start + TupleWord.PROTOCOL] as number) & 0xff) === Protocol.TCP
    this.#update(direction, isTcp, tcpFlags, lengthBytes, nowSeconds)
    this.#visit(this.slot)
    return true
  }

  /**
   * Makes the entry of a new connection, in place of one with the same key; false when the table
   * can evict nothing.
   *
   * @param revNatIndex of the service that the connection goes through, 0 for none
   * @param stateFlags CtState bits to begin with
   * @param backendId of a SERVICE entry
   */
  create(
    words: Int32Array,
    start: number,
    hash: number,
    direction: CtDirection,
    sourceIdentity: number,
    lengthBytes: number,
    nowSeconds: number,
    revNatIndex = 0,
    stateFlags = 0,
    backendId = 0,
  ): boolean {
    const key = this.#key
    key[CtKey.SOURCE] = words[start + SOURCE4] as number
    key[CtKey.DESTINATION] = words[start + DESTINATION4] as number
    key[CtKey.PORTS] = words[start + TupleWord.PORTS] as number
    key[CtKey.PROTOCOL] = (words[start + TupleWord.PROTOCOL] as number) | sideOf(direction)
    const value = this.#value
    const isTcp = ((words[start + TupleWord.PROTOCOL] as number) & 0xff) === Protocol.TCP
    // A created TCP entry counts as having seen a SYN, whatever made it: it lives the short SYN
    // lifetime until a packet without SYN proves that the peers talk.
    const isIngress = direction === CtDirection.INGRESS
    const flagsShift = isIngress ? RX_FLAGS_SHIFT : TX_FLAGS_SHIFT
    value[Ct.EXPIRES] = nowSeconds + lifetimeSeconds(this.timeouts, direction, isTcp, 0)
    value[Ct.STATE] = stateFlags | (isTcp ? tcp.Flag.SYN << flagsShift : 0)
    value[Ct.REV_NAT] = revNatIndex << 16
    value[Ct.SOURCE_IDENTITY] = sourceIdentity
    value[Ct.PACKETS] = 1
    value[Ct.BYTES_LOW] = lengthBytes
    value[Ct.BYTES_HIGH] = 0
    value[Ct.LAST_TX_REPORT] = isIngress ? 0 : nowSeconds
    value[Ct.LAST_RX_REPORT] = isIngress ? nowSeconds : 0
    value[Ct.BACKEND] = backendId
    value[Ct.POLICY_IDENTITY] = 0
    this.slot = this.#table.updateHashed(key, value, UpdateFlag.ANY, hash)
    if (this.slot < 0) return false
    const generation = this.#table.writtenGeneration
    this.generation = generation
    this.foundRevNat = revNatIndex << 16
    this.foundState = stateFlags
    if (this.#table.hasReplaced) {
      const replaced = this.#table.replacedValue
      this.journal.changed(this.slot, generation, replaced, 0)
      const displaced = (replaced[Ct.REV_NAT] as number) >>> 16
      if (displaced !== revNatIndex) this.visited.displaced = displaced
    } else this.journal.made(this.slot, generation)
    this.visited.hasNew = true
    this.#visit(this.slot)
    return true
  }

  /** Of the SERVICE entry that the last `create` wrote over; NO_BACKEND_ID when it wrote over none. */
  get replacedBackendId(): number {
    return this.#table.hasReplaced
      ? (this.#table.replacedValue[Ct.BACKEND] as number)
      : NO_BACKEND_ID
  }

  /** Call it before each packet: what is made from now on is this packet's. */
  beginPacket(): void {
    this.journal.begin()
    this.visited.clear()
  }

  /** The packet at hand is of this entry, which knows of it by now. */
  #visit(slot: Slot): void {
    this.visited.add(this.words, this.#entriesStart + (slot << ENTRY_SHIFT), slot)
    if (this.isClosing) this.visited.hasClosed = true
  }

  /**
   * The packet is dropped: the entries that it made go, so that refused packets fill no table. The
   * longer life of entries that were there stays.
   */
  undo(): void {
    this.journal.undo()
  }

  /**
   * Sets `slot` to the entry of the other direction (REPLY) or else of this one (ESTABLISHED); NOT_FOUND
   * without either, and then the result means nothing. Both have the same hash, so one walk meets both.
   */
  #find(words: Int32Array, start: number, hash: number, direction: CtDirection): CtResult {
    const table = this.#table
    const entries = this.words
    const segmentMask = this.#segmentMask
    const source = words[start + SOURCE4] as number
    const destination = words[start + DESTINATION4] as number
    const ports = words[start + TupleWord.PORTS] as number
    const turnedPorts = (ports << 16) | (ports >>> 16)
    const protocol = words[start + TupleWord.PROTOCOL] as number
    const side = protocol | sideOf(direction)
    const otherSide = protocol | otherSideOf(direction)
    const home = hash & this.#slotMask
    const segment = home & ~segmentMask
    let found = NOT_FOUND
    let result: CtResult = CtResult.ESTABLISHED
    let rereads = 0
    for (let i = 0; i <= segmentMask; i++) {
      const slot = segment | ((home + i) & segmentMask)
      const at = (this.#entriesStart + (slot << ENTRY_SHIFT)) | 0
      const state = table.stateAt(at)
      if (state === EMPTY) break
      if ((state & KEY_BUSY) !== 0) continue
      const entryPorts = entries[at + PORTS]
      const isReply =
        entryPorts === turnedPorts &&
        entries[at + SOURCE] === destination &&
        entries[at + DESTINATION] === source &&
        entries[at + PROTOCOL] === otherSide
      const isOwn =
        !isReply &&
        entryPorts === ports &&
        entries[at + SOURCE] === source &&
        entries[at + DESTINATION] === destination &&
        entries[at + PROTOCOL] === side
      if (!isReply && !isOwn) continue
      const revNat = entries[at + REV_NAT] as number
      const flags = entries[at + STATE] as number
      if (table.stateAgain(at) !== state) {
        // A writer was here just now: look at the same slot again.
        if (rereads++ < REREADS_MAX) i--
        continue
      }
      this.generation = state >>> GENERATION_SHIFT
      this.foundRevNat = revNat
      this.foundState = flags
      found = slot
      if (!isReply) continue
      result = CtResult.REPLY
      break
    }
    this.slot = found
    return result
  }

  /** A packet of the connection found; true when it opens the connection anew. */
  #update(
    direction: CtDirection,
    isTcp: boolean,
    tcpFlags: number,
    lengthBytes: number,
    nowSeconds: number,
  ): boolean {
    const entry = this.valueStart(this.slot)
    const table = this.words
    this.isMonitored = false
    const state = table[entry + Ct.STATE] as number
    if ((state & CLOSING_BOTH) !== CLOSING_BOTH) {
      this.#refresh(entry, direction, isTcp, tcpFlags, nowSeconds)
    } else {
      const expires = nowSeconds + this.timeouts.closeSeconds
      // A packet that met the last FIN on another worker may have lengthened it once more (`#refresh`).
      const isTooLong = (table[entry + Ct.EXPIRES] as number) > expires
      // A service sees one direction alone: a client that has closed its half may go on receiving, and
      // its ACKs must reach the same backend.
      if (direction === CtDirection.SERVICE || isTooLong) table[entry + Ct.EXPIRES] = expires
    }
    this.count(entry, 1, lengthBytes)
    if (!isTcp) return false
    if (isCreateAction(tcpFlags)) return this.#reopen(entry, direction, tcpFlags, nowSeconds)
    if (isCloseAction(tcpFlags)) this.#close(entry, direction, tcpFlags, nowSeconds)
    return false
  }

  /** A SYN on a closing connection begins a new one in the same entry. */
  #reopen(entry: number, direction: CtDirection, tcpFlags: number, nowSeconds: number): boolean {
    const table = this.words
    const state = table[entry + Ct.STATE] as number
    if ((state & CLOSING_BOTH) === 0) return false
    const isService = direction === CtDirection.SERVICE
    const lastReport = table[entry + Ct.LAST_TX_REPORT] as number
    const isGraceOver = lastReport + this.timeouts.serviceGraceSeconds <= nowSeconds
    // Of the connection before, with its closing and its flags, nothing counts any more but how its packets are translated.
    Atomics.and(table, entry + Ct.STATE, LASTING)
    this.#refresh(entry, direction, true, tcpFlags, nowSeconds)
    this.isMonitored = true
    // A service's flow keeps its backend, which may have the old connection in TIME_WAIT; after the
    // grace it is as any new one.
    return !isService || isGraceOver
  }

  #close(entry: number, direction: CtDirection, tcpFlags: number, nowSeconds: number): void {
    const table = this.words
    const state = table[entry + Ct.STATE] as number
    const seenBothSyns =
      ((state >>> TX_FLAGS_SHIFT) & tcp.Flag.SYN) !== 0 &&
      ((state >>> RX_FLAGS_SHIFT) & tcp.Flag.SYN) !== 0
    let closing: number = CLOSING_BOTH
    if (direction !== CtDirection.SERVICE && ((tcpFlags & tcp.Flag.RST) === 0 || seenBothSyns)) {
      closing = direction === CtDirection.INGRESS ? CtState.RX_CLOSING : CtState.TX_CLOSING
    }
    // The other side may close in this moment, too, on another worker: the second sees both.
    const before = Atomics.or(table, entry + Ct.STATE, closing)
    this.isMonitored = true
    if (((before | closing) & CLOSING_BOTH) === CLOSING_BOTH) {
      table[entry + Ct.EXPIRES] = nowSeconds + this.timeouts.closeSeconds
    }
  }

  /** Extends an open connection's lifetime and notes the flags of this side. */
  #refresh(
    entry: number,
    direction: CtDirection,
    isTcp: boolean,
    tcpFlags: number,
    nowSeconds: number,
  ): void {
    const table = this.words
    const timeouts = this.timeouts
    const state = table[entry + Ct.STATE] as number
    const isIngress = direction === CtDirection.INGRESS
    let seen = (tcpFlags & timeouts.reportFlags) << (isIngress ? RX_FLAGS_SHIFT : TX_FLAGS_SHIFT)
    if (isTcp && (tcpFlags & tcp.Flag.SYN) === 0) seen |= CtState.SEEN_NON_SYN
    const lifetime = lifetimeSeconds(timeouts, direction, isTcp, state | seen)
    table[entry + Ct.EXPIRES] = nowSeconds + lifetime

    // No more than what is new: a SYN on another worker may just have cleared the rest (`#reopen`).
    const added = seen & ~state
    if (added !== 0) Atomics.or(table, entry + Ct.STATE, added)
    this.endIfClosed(entry, nowSeconds)
    const hasNewFlags = (added & ~CtState.SEEN_NON_SYN) !== 0
    if (!hasNewFlags && !this.#isReportDue(entry, isIngress, nowSeconds)) return
    table[entry + (isIngress ? Ct.LAST_RX_REPORT : Ct.LAST_TX_REPORT)] = nowSeconds
    this.isMonitored = true
  }

  #isReportDue(entry: number, isIngress: boolean, nowSeconds: number): boolean {
    const word = isIngress ? Ct.LAST_RX_REPORT : Ct.LAST_TX_REPORT
    const last = this.words[entry + word] as number
    return last + this.timeouts.reportIntervalSeconds < nowSeconds
  }
}

/** An IPv4 address is the last of its four words. */
const SOURCE4 = TupleWord.SOURCE + 3
const DESTINATION4 = TupleWord.DESTINATION + 3
