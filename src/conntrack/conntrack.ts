/**
 * Connection tracking with Cilium's state machine (bpf/lib/conntrack.h): is a packet the first of a flow, a further one, a reply,
 * or an ICMP error about one, and how long is the flow to be remembered?
 *
 * A flow between two pods of a node has two entries, as in Cilium: one made on its way out of the first pod (OUT), one on its way
 * into the second (IN), each with the policy decision of its side. What it does not do: follow sequence numbers.
 */
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { NOT_FOUND, type Slot, UpdateFlag } from '../maps/map.js'
import {
  CLOSING_BOTH,
  CT_KEY_WORDS,
  CT_TIMEOUTS,
  Ct,
  CtDirection,
  CtFlag,
  CtKey,
  CtResult,
  CtState,
  type CtTimeouts,
} from './ct-entry.js'
import { flowHash } from './flow-hash.js'

const TCP = 6
const FIN = 0x01
const SYN = 0x02
const RST = 0x04

/** What a packet does to its connection: A10, "Actions". */
const isCloseAction = (tcpFlags: number): boolean => (tcpFlags & (FIN | RST)) !== 0
const isCreateAction = (tcpFlags: number): boolean =>
  (tcpFlags & SYN) !== 0 && (tcpFlags & 0x10) === 0

/** Bits of Ct.FLAGS_SEEN before the received ones. */
const RX_SHIFT = 8

export class Conntrack {
  readonly #table: LruHashMap
  readonly #timeouts: CtTimeouts
  readonly #forward = new Int32Array(CT_KEY_WORDS)
  readonly #reverse = new Int32Array(CT_KEY_WORDS)
  readonly #turned = new Int32Array(CT_KEY_WORDS)
  readonly #value: Int32Array
  readonly seed: number

  /** Of the last lookup: the entry found, or NOT_FOUND. */
  slot: Slot = NOT_FOUND
  /** Of the last lookup: the packet is worth an event (first of its kind, or the report interval is over). */
  isMonitored = false

  constructor(table: LruHashMap, timeouts: CtTimeouts = CT_TIMEOUTS) {
    this.#table = table
    this.#timeouts = timeouts
    this.#value = new Int32Array(table.spec.valueWords)
    this.seed = table.seed
  }

  get words(): Int32Array {
    return this.#table.words
  }

  valueStart(slot: Slot): number {
    return this.#table.valueStart(slot)
  }

  /** Reads the line that a lookup with this hash begins at, so that its cache miss overlaps others; add up the results. */
  touch(hash: number): number {
    return this.#table.touch(hash)
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
    this.#setKeys(words, start, direction)
    this.isMonitored = true
    if (direction !== CtDirection.SERVICE) {
      this.slot = this.#table.lookupHashed(this.#reverse, hash)
      if (this.slot !== NOT_FOUND) {
        const isNew = this.#update(direction, words, start, tcpFlags, lengthBytes, nowSeconds)
        return isNew ? CtResult.NEW : CtResult.REPLY
      }
    }
    this.slot = this.#table.lookupHashed(this.#forward, hash)
    if (this.slot === NOT_FOUND) return CtResult.NEW
    const isNew = this.#update(direction, words, start, tcpFlags, lengthBytes, nowSeconds)
    return isNew ? CtResult.NEW : CtResult.ESTABLISHED
  }

  /**
   * Does an ICMP error that quotes this tuple belong to a known connection? The error travels against the packet it quotes,
   * so it is looked up as if it were a packet of the quoted flow's other direction.
   */
  lookupRelated(quoted: Int32Array, start: number, direction: CtDirection): CtResult {
    const turned = this.#turned
    for (let i = 0; i < 4; i++) {
      turned[i] = quoted[start + 4 + i] as number
      turned[4 + i] = quoted[start + i] as number
    }
    const ports = quoted[start + CtKey.PORTS] as number
    turned[CtKey.PORTS] = (ports << 16) | (ports >>> 16)
    turned[CtKey.PROTOCOL] = quoted[start + CtKey.PROTOCOL] as number
    this.#setKeys(turned, 0, direction)
    const hash = flowHash(turned, 0, this.seed)
    this.isMonitored = true
    this.slot = this.#table.lookupHashed(this.#reverse, hash)
    if (this.slot === NOT_FOUND) this.slot = this.#table.lookupHashed(this.#forward, hash)
    return this.slot === NOT_FOUND ? CtResult.NEW : CtResult.RELATED
  }

  /** Makes the entry of a new connection; false when the table can evict nothing. */
  create(
    words: Int32Array,
    start: number,
    hash: number,
    direction: CtDirection,
    sourceIdentity: number,
    lengthBytes: number,
    nowSeconds: number,
  ): boolean {
    this.#setKeys(words, start, direction)
    const value = this.#value
    value.fill(0)
    const isTcp = ((words[start + CtKey.PROTOCOL] as number) & 0xff) === TCP
    // A created TCP entry counts as having seen a SYN, whatever made it: it lives the short SYN lifetime until a
    // packet without SYN proves that the peers talk.
    const lifetime = isTcp ? this.#timeouts.synSeconds : this.#timeouts.anySeconds
    value[Ct.LIFETIME] = nowSeconds + lifetime
    value[Ct.SOURCE_IDENTITY] = sourceIdentity
    value[Ct.PACKETS] = 1
    value[Ct.BYTES_LOW] = lengthBytes
    const isIngress = direction === CtDirection.INGRESS
    value[Ct.FLAGS_SEEN] = isTcp ? (isIngress ? SYN << RX_SHIFT : SYN) : 0
    value[isIngress ? Ct.LAST_RX_REPORT : Ct.LAST_TX_REPORT] = nowSeconds
    this.slot = this.#table.updateHashed(this.#forward, value, UpdateFlag.ANY, hash)
    return this.slot >= 0
  }

  #setKeys(words: Int32Array, start: number, direction: CtDirection): void {
    const forward = this.#forward
    const reverse = this.#reverse
    for (let i = 0; i < 4; i++) {
      const source = words[start + i] as number
      const destination = words[start + 4 + i] as number
      forward[i] = source
      forward[4 + i] = destination
      reverse[i] = destination
      reverse[4 + i] = source
    }
    const ports = words[start + CtKey.PORTS] as number
    const protocol = words[start + CtKey.PROTOCOL] as number
    forward[CtKey.PORTS] = ports
    reverse[CtKey.PORTS] = (ports << 16) | (ports >>> 16)
    if (direction === CtDirection.EGRESS) {
      forward[CtKey.PROTOCOL] = protocol | CtFlag.OUT
      reverse[CtKey.PROTOCOL] = protocol | CtFlag.IN
    } else if (direction === CtDirection.INGRESS) {
      forward[CtKey.PROTOCOL] = protocol | CtFlag.IN
      reverse[CtKey.PROTOCOL] = protocol | CtFlag.OUT
    } else {
      forward[CtKey.PROTOCOL] = protocol | CtFlag.SERVICE
      reverse[CtKey.PROTOCOL] = protocol | CtFlag.SERVICE
    }
  }

  /** A packet of a known connection; true when it opens the connection anew. */
  #update(
    direction: CtDirection,
    words: Int32Array,
    start: number,
    tcpFlags: number,
    lengthBytes: number,
    nowSeconds: number,
  ): boolean {
    const entry = this.#table.valueStart(this.slot)
    const table = this.#table.words
    const isTcp = ((words[start + CtKey.PROTOCOL] as number) & 0xff) === TCP
    this.isMonitored = false
    const state = table[entry + Ct.STATE] as number
    if ((state & CLOSING_BOTH) !== CLOSING_BOTH) {
      this.#refresh(entry, direction, isTcp, tcpFlags, nowSeconds)
    }
    table[entry + Ct.PACKETS] = ((table[entry + Ct.PACKETS] as number) + 1) | 0
    const bytesLow = table[entry + Ct.BYTES_LOW] as number
    const bytes = (bytesLow + lengthBytes) | 0
    table[entry + Ct.BYTES_LOW] = bytes
    if (bytes >>> 0 < bytesLow >>> 0) {
      table[entry + Ct.BYTES_HIGH] = ((table[entry + Ct.BYTES_HIGH] as number) + 1) | 0
    }
    if (!isTcp) return false
    if (isCreateAction(tcpFlags)) return this.#reopen(entry, direction, tcpFlags, nowSeconds)
    if (isCloseAction(tcpFlags)) this.#close(entry, direction, tcpFlags, nowSeconds)
    return false
  }

  /** A SYN on a closing connection begins a new one in the same entry. */
  #reopen(entry: number, direction: CtDirection, tcpFlags: number, nowSeconds: number): boolean {
    const table = this.#table.words
    const state = table[entry + Ct.STATE] as number
    if ((state & CLOSING_BOTH) === 0) return false
    table[entry + Ct.STATE] = state & ~(CLOSING_BOTH | CtState.SEEN_NON_SYN)
    table[entry + Ct.FLAGS_SEEN] = 0
    this.#refresh(entry, direction, true, tcpFlags, nowSeconds)
    this.isMonitored = true
    return true
  }

  #close(entry: number, direction: CtDirection, tcpFlags: number, nowSeconds: number): void {
    const table = this.#table.words
    let state = table[entry + Ct.STATE] as number
    const seen = table[entry + Ct.FLAGS_SEEN] as number
    const seenBothSyns = (seen & SYN) !== 0 && ((seen >>> RX_SHIFT) & SYN) !== 0
    if (direction === CtDirection.SERVICE || ((tcpFlags & RST) !== 0 && !seenBothSyns)) {
      state |= CLOSING_BOTH
    } else {
      state |= direction === CtDirection.INGRESS ? CtState.RX_CLOSING : CtState.TX_CLOSING
    }
    table[entry + Ct.STATE] = state
    this.isMonitored = true
    if ((state & CLOSING_BOTH) === CLOSING_BOTH) {
      table[entry + Ct.LIFETIME] = nowSeconds + this.#timeouts.closeSeconds
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
    const table = this.#table.words
    const timeouts = this.#timeouts
    let lifetime = timeouts.anySeconds
    if (isTcp) {
      const state = table[entry + Ct.STATE] as number
      const seenNonSyn = (state & CtState.SEEN_NON_SYN) !== 0 || (tcpFlags & SYN) === 0
      if (seenNonSyn) table[entry + Ct.STATE] = state | CtState.SEEN_NON_SYN
      lifetime = seenNonSyn ? timeouts.tcpSeconds : timeouts.synSeconds
    }
    table[entry + Ct.LIFETIME] = nowSeconds + lifetime

    const shift = direction === CtDirection.INGRESS ? RX_SHIFT : 0
    const reportWord = direction === CtDirection.INGRESS ? Ct.LAST_RX_REPORT : Ct.LAST_TX_REPORT
    const seen = table[entry + Ct.FLAGS_SEEN] as number
    const flags = (tcpFlags & timeouts.reportFlags) << shift
    const lastReport = table[entry + reportWord] as number
    if ((seen | flags) !== seen || lastReport + timeouts.reportIntervalSeconds < nowSeconds) {
      table[entry + Ct.FLAGS_SEEN] = seen | flags
      table[entry + reportWord] = nowSeconds
      this.isMonitored = true
    }
  }
}
