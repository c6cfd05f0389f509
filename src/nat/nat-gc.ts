/**
 * Collection of NAT entries whose connection is gone (Cilium: PurgeOrphanNATEntries of
 * pkg/maps/ctmap), in bounded steps on the worker's own time. A sweep follows each sweep of the
 * connection table, so that a mapping lives as long as its connection; when ports become scarce,
 * both are made at once. Before it takes away what flow lanes may still use, they are told.
 */
import { REPEATED_SECONDS_MAX } from '../base/limits.js'
import { CT_TIMEOUTS, CT4_KEY_WORDS, CtFlag, CtKey } from '../conntrack/ct-entry.js'
import { type ConntrackGc, shareStart, WHOLE_TABLE } from '../conntrack/ct-gc.js'
import { flowHash } from '../conntrack/flow-hash.js'
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { NOT_FOUND } from '../maps/map.js'
import { Protocol } from '../wire/protocols.js'
import { IPV4_MAPPED, TUPLE_WORDS, TupleWord } from '../wire/tuple.js'
import {
  SNAT_KEY_WORDS,
  SNAT_VALUE_WORDS,
  Snat,
  SnatDirection,
  SnatKey,
  writePartnerKey,
} from './snat-entry.js'
import type { SourceNat } from './source-nat.js'

/** Slots looked at per step; each live one costs a lookup in the connection table. */
const STEP_SLOTS = 256
/** Sweeps made at once because ports are scarce are so far apart at least. */
const FORCED_INTERVAL_SECONDS = 1
const NOT_TOLD = -1

export class NatGc {
  readonly #nat: SourceNat
  readonly #connections: LruHashMap
  readonly #conntrackGc: ConntrackGc
  readonly #key = new Int32Array(SNAT_KEY_WORDS)
  readonly #value = new Int32Array(SNAT_VALUE_WORDS)
  readonly #partner = new Int32Array(SNAT_KEY_WORDS)
  readonly #connection = new Int32Array(CT4_KEY_WORDS)
  readonly #tuple = new Int32Array(TUPLE_WORDS)
  readonly #firstSlot: number
  readonly #endSlot: number
  #sweepsSeen = 0
  #isSweeping = false
  #nextSlot = 0
  /** When the lanes were told of this sweep, if they were, and connections evicted by then. */
  #toldSeconds = NOT_TOLD
  #toldEvictions = 0
  /** Connections evicted when this sweep began, and the one before. */
  #evictions: number
  #evictionsBefore: number
  #forcedSeconds = -1

  /** Entries deleted since the start. */
  deleted = 0
  sweeps = 0

  /**
   * @param conntrackGc of the same worker, whose steps come before ours
   * @param share of the NAT's entries, of whichever connections
   */
  constructor(
    nat: SourceNat,
    connections: LruHashMap,
    conntrackGc: ConntrackGc,
    share = WHOLE_TABLE,
  ) {
    const { slotCount } = nat.mappings.entries
    this.#firstSlot = shareStart(slotCount, share)
    this.#endSlot = shareStart(slotCount, { index: share.index + 1, of: share.of })
    this.#nat = nat
    this.#connections = connections
    this.#conntrackGc = conntrackGc
    this.#evictions = connections.evictions
    this.#evictionsBefore = this.#evictions
    this.#tuple[TupleWord.SOURCE + 2] = IPV4_MAPPED
    this.#tuple[TupleWord.DESTINATION + 2] = IPV4_MAPPED
  }

  /** As in ConntrackGc. */
  get hasMore(): boolean {
    return this.#isSweeping
  }

  /** One bounded step; call it between bursts. */
  step(nowSeconds: number): void {
    if (this.#nat.isFillingUp) this.#force(nowSeconds)
    if (this.#isSweeping) this.#sweep(nowSeconds)
    else if (this.#conntrackGc.sweeps !== this.#sweepsSeen) {
      this.#sweepsSeen = this.#conntrackGc.sweeps
      this.#nextSlot = this.#firstSlot
      this.#isSweeping = true
      this.#toldSeconds = NOT_TOLD
      this.#evictionsBefore = this.#evictions
      this.#evictions = this.#connections.evictions
    }
  }

  #force(nowSeconds: number): void {
    if (nowSeconds - this.#forcedSeconds < FORCED_INTERVAL_SECONDS) return
    this.#nat.isFillingUp = false
    this.#forcedSeconds = nowSeconds
    this.#conntrackGc.request()
  }

  #sweep(nowSeconds: number): void {
    const { mappings } = this.#nat
    const table = mappings.entries
    const end = Math.min(this.#nextSlot + STEP_SLOTS, this.#endSlot)
    for (let slot = this.#nextSlot; slot < end; slot++) {
      const generation = table.generation(slot)
      if (generation === 0 || !table.read(slot, this.#key, this.#value)) continue
      if (this.#isConnected() || !this.#isFree(nowSeconds)) continue
      if (!mappings.remove(slot, generation, this.#key)) continue
      // A flow's connection is made before its mapping is looked up: another worker may have begun it anew just now,
      // and gets the half back.
      if (this.#isConnected()) mappings.insert(this.#key, this.#value)
      else this.deleted++
    }
    this.#nextSlot = end
    if (end < this.#endSlot) return
    this.#isSweeping = false
    this.sweeps++
  }

  /**
   * Does no flow lane repeat packets by the mapping read, whose port may be another flow's as soon as it is
   * gone? The lanes are told once a sweep, for then they learn all their flows again. A flow that the
   * chain has shown them since, and whose connection was evicted after that, is left to the next sweep.
   */
  #isFree(nowSeconds: number): boolean {
    const seenSeconds = this.#seenSeconds()
    if (!this.#mayBeRepeated(nowSeconds - seenSeconds)) return true
    const { evictions } = this.#connections
    if (this.#toldSeconds !== NOT_TOLD) {
      return evictions === this.#toldEvictions || seenSeconds < this.#toldSeconds
    }
    this.#toldSeconds = nowSeconds
    this.#toldEvictions = evictions
    this.#nat.mappings.entries.changes.mark()
    return true
  }

  /** When the chain saw a packet of the mapping read; of a SYN earlier than it did. */
  #seenSeconds(): number {
    const isTcp = ((this.#key[SnatKey.PROTOCOL] as number) & 0xff) === Protocol.TCP
    const { tcpSeconds, anySeconds } = CT_TIMEOUTS
    return (this.#value[Snat.EXPIRES] as number) - (isTcp ? tcpSeconds : anySeconds)
  }

  /**
   * After an eviction, as long as a lane may go without the chain. Without one only where the connection
   * cannot have expired; of TCP, whose mapping does not tell that the connection closed, never: of
   * closed connections a lane repeats nothing (ct-traffic.ts).
   */
  #mayBeRepeated(silentSeconds: number): boolean {
    const protocol = (this.#key[SnatKey.PROTOCOL] as number) & 0xff
    // The lane knows no ICMP.
    if (protocol === Protocol.ICMPV4) return false
    if (this.#connections.evictions !== this.#evictionsBefore) {
      return silentSeconds <= REPEATED_SECONDS_MAX
    }
    return protocol !== Protocol.TCP && silentSeconds <= CT_TIMEOUTS.anySeconds
  }

  /** Has the flow of the entry an entry in the connection table, on either side of the node? */
  #isConnected(): boolean {
    const key = this.#key
    let forward = key
    if (((key[SnatKey.PROTOCOL] as number) & SnatDirection.IN) !== 0) {
      forward = this.#partner
      const address4 = this.#value[Snat.ADDRESS] as number
      writePartnerKey(forward, key, address4, this.#value[Snat.PORT] as number)
    }
    const protocol = (forward[SnatKey.PROTOCOL] as number) & 0xff
    const ports = forward[SnatKey.PORTS] as number
    const { PORTS, PROTOCOL, SOURCE, DESTINATION } = TupleWord
    const tuple = this.#tuple
    tuple[SOURCE + 3] = forward[SnatKey.SOURCE] as number
    tuple[DESTINATION + 3] = forward[SnatKey.DESTINATION] as number
    // The connection of a ping has its identifier as destination port.
    tuple[PORTS] = protocol === Protocol.ICMPV4 ? ports >>> 16 : ports
    tuple[PROTOCOL] = protocol
    return this.#has(CtFlag.OUT) || this.#has(CtFlag.IN)
  }

  #has(side: number): boolean {
    const tuple = this.#tuple
    const key = this.#connection
    key[CtKey.SOURCE] = tuple[TupleWord.SOURCE + 3] as number
    key[CtKey.DESTINATION] = tuple[TupleWord.DESTINATION + 3] as number
    key[CtKey.PORTS] = tuple[TupleWord.PORTS] as number
    key[CtKey.PROTOCOL] = (tuple[TupleWord.PROTOCOL] as number) | side
    const hash = flowHash(tuple, 0, this.#connections.seed)
    return this.#connections.lookupHashed(key, hash) !== NOT_FOUND
  }
}
