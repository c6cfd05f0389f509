/**
 * Source NAT (Cilium: snat_v4_nat_handle_mapping, snat_v4_new_mapping and snat_v4_rev_nat of
 * bpf/lib/nat.h): many senders share the node's address, each flow with a port that no other flow
 * toward the same destination has. The table alone is here; packets are rewritten by the stages.
 *
 * A port is a flow's own by its reverse entry, which is made only where there is none. Either half
 * may be evicted from a full table, and is made again from the other by the next packet that finds
 * that one. A half whose other belongs to somebody else, or to nobody any more, is thrown away.
 *
 * Several workers may do all this at once, with one flow, too: a port is taken by one insertion of one
 * of them, and the flow's forward entry is made where there is none, so that both use what the first one
 * made. Ports in use are counted, and marked for the steering of replies.
 */
import type { Prng } from '../base/prng.js'
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { EXISTS, NOT_FOUND, type Slot, UpdateFlag } from '../maps/map.js'
import { markChanged } from '../maps/revision.js'
import type { DestinationUse } from './destination-use.js'
import type { HostPorts } from './host-ports.js'
import { NatRow, natRow, PORTS_PER_ROW } from './nat-protocol.js'
import type { NatPortRange } from './nat-settings.js'
import { PORT_TRIES_MAX, PortProbe } from './port-probe.js'
import type { PortUse } from './port-use.js'
import {
  expiryOf,
  leadsTo,
  needsCt,
  SNAT_KEY_WORDS,
  SNAT_VALUE_WORDS,
  Snat,
  SnatDirection,
  SnatKey,
  writeForwardKey,
  writePartnerKey,
  writeReverseKey,
} from './snat-entry.js'

/** More tries than that for one port say that the table fills up. */
const TRIES_FILLING_UP = 16
/** Times that a flow is begun which other workers begin, or end, in the same moment. */
const BEGINS_MAX = 8
/** What became of a new mapping. */
const Made = { NOT: 0, HERE: 1, ELSEWHERE: 2 } as const
type Made = (typeof Made)[keyof typeof Made]
/** Cells of the histogram: mappings by tries that failed before; the last counts exhaustions. */
export const NAT_TRIES_CELLS = PORT_TRIES_MAX + 1

export interface SourceNatMaps {
  /** `snat4`. */
  readonly table: LruHashMap
  readonly portUse: PortUse
  readonly hostPorts: HostPorts
  readonly destinations: DestinationUse
  readonly range: NatPortRange
  /** NAT_TRIES_CELLS counters of this worker. */
  readonly triesHistogram: Float64Array
}

export class SourceNat {
  readonly table: LruHashMap
  /** Where the steering programs of uplinks are told of ports in use. */
  readonly portUse: PortUse
  readonly #hostPorts: HostPorts
  readonly #destinations: DestinationUse
  readonly #range: NatPortRange
  readonly #histogram: Float64Array
  readonly #probe: PortProbe
  readonly #key = new Int32Array(SNAT_KEY_WORDS)
  readonly #partner = new Int32Array(SNAT_KEY_WORDS)
  readonly #value = new Int32Array(SNAT_VALUE_WORDS)

  /** Of the last translation: what the packet's end becomes. */
  address4 = 0
  port = 0
  /** Of the last translation, forward or back: a mapping with SnatFlag.NEEDS_CT. */
  needsCt = false
  /** Of the last allocation that failed: ports tried, ports there are, ports in use toward there. */
  exhaustedTries = 0
  exhaustedRange = 0
  exhaustedInUse = 0
  /** Halves that the packet at hand made, by slot and generation; NOT_FOUND for none. */
  #madeForward: Slot = NOT_FOUND
  #madeForwardGeneration = 0
  #madeReverse: Slot = NOT_FOUND
  #madeReverseGeneration = 0
  #insertedGeneration = 0
  /** Words touched ahead; kept so that no compiler may drop the loads. */
  touched = 0
  /** Ports became scarce: the collector is to look at once. It takes the sign down. */
  isFillingUp = false

  constructor(maps: SourceNatMaps, random: Prng) {
    this.table = maps.table
    this.portUse = maps.portUse
    this.#hostPorts = maps.hostPorts
    this.#destinations = maps.destinations
    this.#range = maps.range
    this.#histogram = maps.triesHistogram
    this.#probe = new PortProbe(random)
  }

  /**
   * Sets `address4` and `port` to what the source of the packet becomes, making a mapping if there
   * is none. False when no port is free: see the `exhausted…` numbers.
   *
   * @param start index of the packet's tuple; of ICMP, an echo request's
   * @param address4 that the flow is to come from; a mapping to another one is given up
   * @param flags SnatFlag bits of a new mapping
   */
  forward(
    words: Int32Array,
    start: number,
    address4: number,
    flags: number,
    tcpFlags: number,
    nowSeconds: number,
  ): boolean {
    writeForwardKey(this.#key, words, start)
    const expires = expiryOf(this.#key, tcpFlags, nowSeconds)
    const hash = this.table.hash(this.#key)
    this.#touchHalves(hash, address4)
    for (let tries = 0; tries < BEGINS_MAX; tries++) {
      const slot = this.table.lookupHashed(this.#key, hash)
      if (slot !== NOT_FOUND && this.#goesOn(slot, address4, flags, expires)) return true
      const made = this.#allocate(hash, address4, flags, expires, nowSeconds)
      if (made !== Made.ELSEWHERE) return made === Made.HERE
    }
    return this.#fail()
  }

  /**
   * Sets `address4` and `port` to whom the packet is for, if it answers a mapping; false if not.
   *
   * @param start index of the packet's tuple; of ICMP, an echo reply's
   */
  reverse(words: Int32Array, start: number, tcpFlags: number, nowSeconds: number): boolean {
    writeReverseKey(this.#key, words, start)
    const slot = this.table.lookup(this.#key)
    if (slot === NOT_FOUND) return false
    const generation = this.table.foundGeneration
    const value = this.table.valueStart(slot)
    this.#read(value)
    // Given to another flow by another worker, while it was read.
    if (this.table.generation(slot) !== generation) return false
    writePartnerKey(this.#partner, this.#key, this.address4, this.port)
    const forward = this.table.lookup(this.#partner)
    if (forward !== NOT_FOUND && !this.#leadsTo(forward, this.#key)) {
      // The flow has another mapping by now.
      this.remove(slot, generation, this.#key)
      return false
    }
    const expires = expiryOf(this.#key, tcpFlags, nowSeconds)
    this.table.words[value + Snat.EXPIRES] = expires
    if (forward === NOT_FOUND) {
      const natPort = (this.#key[SnatKey.PORTS] as number) & 0xffff
      const natAddress = this.#key[SnatKey.DESTINATION] as number
      this.#restore(this.#partner, natAddress, natPort, value)
    } else this.table.words[this.table.valueStart(forward) + Snat.EXPIRES] = expires
    return true
  }

  /**
   * For an ICMP error that a sender of ours makes about a packet it got: `address4` and `port` of the
   * mapping of the flow that the quoted packet answers. Makes none.
   */
  findQuotedReply(quoted: Int32Array): boolean {
    writeReverseKey(this.#key, quoted, 0)
    return this.#findTurned()
  }

  /**
   * For an ICMP error from outside: `address4` and `port` of the sender whose translated packet is
   * quoted.
   */
  findQuotedRequest(quoted: Int32Array): boolean {
    writeForwardKey(this.#key, quoted, 0)
    return this.#findTurned()
  }

  /** Call it before each packet: a mapping made from now on is this packet's. */
  beginPacket(): void {
    this.#madeForward = NOT_FOUND
    this.#madeReverse = NOT_FOUND
  }

  /** The packet is dropped: the mapping that it made goes, so that refused packets take no port. */
  undo(): void {
    this.#unmake(this.#madeForward, this.#madeForwardGeneration)
    this.#unmake(this.#madeReverse, this.#madeReverseGeneration)
    this.beginPacket()
  }

  /**
   * Removes the half in the slot, whose key this is, unless it is another one by now; the other half is
   * left to its own devices.
   */
  remove(slot: Slot, generation: number, key: Int32Array): void {
    if (this.table.deleteSlot(slot, generation)) this.#uncount(key)
  }

  /**
   * Counts the ports in use anew, for the first worker, before any other begins: one that was killed
   * may have been between an entry and its count.
   */
  countAnew(): void {
    this.portUse.reset()
    this.#destinations.reset()
    for (const slot of this.table.slots()) {
      if (this.table.read(slot, this.#key, this.#value)) this.#count(this.#key)
    }
  }

  /** Reads where both halves lie, or will as a rule, so that their cache misses overlap. */
  #touchHalves(hash: number, address4: number): void {
    const partner = this.#partner
    writePartnerKey(partner, this.#key, address4, (this.#key[SnatKey.PORTS] as number) >>> 16)
    this.touched = this.table.touch(hash) ^ this.table.touch(this.table.hash(partner))
  }

  /** An existing mapping goes on, if it still is what is wanted; else it is removed. */
  #goesOn(slot: Slot, address4: number, flags: number, expires: number): boolean {
    const table = this.table
    const generation = table.foundGeneration
    const value = table.valueStart(slot)
    this.#read(value)
    if (table.generation(slot) !== generation) return false
    writePartnerKey(this.#partner, this.#key, this.address4, this.port)
    const reverse = table.lookup(this.#partner)
    const reverseGeneration = table.foundGeneration
    const isOwn = reverse === NOT_FOUND || this.#leadsTo(reverse, this.#key)
    if (!isOwn || this.address4 !== address4 || this.needsCt !== needsCt(flags)) {
      if (isOwn && reverse !== NOT_FOUND) this.remove(reverse, reverseGeneration, this.#partner)
      this.remove(slot, generation, this.#key)
      return false
    }
    table.words[value + Snat.EXPIRES] = expires
    if (reverse === NOT_FOUND) {
      const port = (this.#key[SnatKey.PORTS] as number) >>> 16
      this.#restore(this.#partner, this.#key[SnatKey.SOURCE] as number, port, value)
    } else table.words[table.valueStart(reverse) + Snat.EXPIRES] = expires
    return true
  }

  /** @param hash of `#key`, the forward one */
  #allocate(hash: number, address4: number, flags: number, expires: number, created: number): Made {
    const source = this.#key[SnatKey.SOURCE] as number
    const sourcePort = (this.#key[SnatKey.PORTS] as number) >>> 16
    this.#write(source, sourcePort, expires, created, flags)
    const port = this.#takePort(address4, sourcePort, source === address4)
    if (port < 0) return Made.NOT
    this.#value[Snat.ADDRESS] = address4
    this.#value[Snat.PORT] = port
    const forward = this.#insert(this.#key, hash)
    if (forward === EXISTS) {
      // Another worker was first; it may have taken up the very port. `#unmake` writes over the key.
      const theirs = this.table.lookup(this.#key)
      const isSame = theirs !== NOT_FOUND && this.#leadsTo(theirs, this.#partner)
      if (!isSame) this.#unmake(this.#madeReverse, this.#madeReverseGeneration)
      this.#madeReverse = NOT_FOUND
      writePartnerKey(this.#key, this.#partner, source, sourcePort)
      return Made.ELSEWHERE
    }
    const forwardGeneration = this.table.writtenGeneration
    // In a table of a few entries the one may have evicted the other.
    if (forward < 0 || (this.table.hasEvicted && !this.#ownsPort())) {
      if (this.table.delete(this.#partner)) this.#uncount(this.#partner)
      this.table.delete(this.#key)
      this.#fail()
      return Made.NOT
    }
    this.#madeForward = forward
    this.#madeForwardGeneration = forwardGeneration
    this.address4 = address4
    this.port = port
    this.needsCt = needsCt(flags)
    return Made.HERE
  }

  #unmake(slot: Slot, generation: number): void {
    if (slot < 0 || this.table.generation(slot) !== generation) return
    const start = this.table.keyStart(slot)
    for (let i = 0; i < SNAT_KEY_WORDS; i++) this.#key[i] = this.table.words[start + i] as number
    this.remove(slot, generation, this.#key)
  }

  /** Makes the reverse entry, whose value has been written; its port, or -1. */
  #takePort(address4: number, sourcePort: number, isOfHost: boolean): number {
    const row = natRow((this.#key[SnatKey.PROTOCOL] as number) & 0xff)
    const isIcmp = row === NatRow.ICMP
    const probe = this.#probe
    const low = isIcmp ? 0 : this.#range.natPortLow
    const high = isIcmp ? PORTS_PER_ROW - 1 : this.#range.natPortHigh
    probe.begin(sourcePort, low, high)
    this.exhaustedRange = high - low + 1
    writePartnerKey(this.#partner, this.#key, address4, low)
    for (let port = probe.next(); port >= 0; port = probe.next()) {
      // A socket of the node may keep its own port.
      const isKept = isOfHost && port === sourcePort
      if (!isKept && this.#hostPorts.has(row, port)) continue
      writePartnerKey(this.#partner, this.#key, address4, port)
      const reverse = this.#insert(this.#partner, this.table.hash(this.#partner))
      // The flow's own, whose forward half was evicted, is taken up again.
      const isTaken = reverse >= 0 || (reverse === EXISTS && this.#ownsPort())
      if (!isTaken) continue
      this.#madeReverse = reverse
      if (reverse >= 0) this.#madeReverseGeneration = this.#insertedGeneration
      this.#countTries(probe.tries - 1)
      return port
    }
    this.#fail()
    return -1
  }

  #ownsPort(): boolean {
    const slot = this.table.lookup(this.#partner)
    return slot !== NOT_FOUND && this.#leadsTo(slot, this.#key)
  }

  #fail(): false {
    this.exhaustedTries = this.#probe.tries
    this.exhaustedInUse = this.#destinations.count(this.#partner)
    this.#countTries(PORT_TRIES_MAX)
    return false
  }

  #countTries(failed: number): void {
    if (failed > TRIES_FILLING_UP) this.isFillingUp = true
    this.#histogram[failed] = (this.#histogram[failed] as number) + 1
  }

  #leadsTo(slot: Slot, key: Int32Array): boolean {
    return leadsTo(this.table.words, this.table.valueStart(slot), key)
  }

  /** The mapping of the flow whose other direction's packet `#key` was made of. */
  #findTurned(): boolean {
    const key = this.#partner
    const ports = this.#key[SnatKey.PORTS] as number
    key[SnatKey.SOURCE] = this.#key[SnatKey.DESTINATION] as number
    key[SnatKey.DESTINATION] = this.#key[SnatKey.SOURCE] as number
    key[SnatKey.PORTS] = (ports << 16) | (ports >>> 16)
    key[SnatKey.PROTOCOL] = (this.#key[SnatKey.PROTOCOL] as number) ^ SnatDirection.IN
    const slot = this.table.lookup(key)
    if (slot === NOT_FOUND) return false
    this.#read(this.table.valueStart(slot))
    return true
  }

  #read(value: number): void {
    const { words } = this.table
    this.address4 = words[value + Snat.ADDRESS] as number
    this.port = words[value + Snat.PORT] as number
    this.needsCt = needsCt(words[value + Snat.FLAGS] as number)
  }

  #write(address4: number, port: number, expires: number, created: number, flags: number): void {
    const value = this.#value
    value[Snat.ADDRESS] = address4
    value[Snat.PORT] = port
    value[Snat.EXPIRES] = expires
    value[Snat.CREATED] = created
    value[Snat.FLAGS] = flags
  }

  /** Makes the missing half again, as old as the one whose value begins at `from`. */
  #restore(key: Int32Array, address4: number, port: number, from: number): void {
    const { words } = this.table
    const expires = words[from + Snat.EXPIRES] as number
    const created = words[from + Snat.CREATED] as number
    this.#write(address4, port, expires, created, words[from + Snat.FLAGS] as number)
    this.#insert(key, this.table.hash(key))
  }

  /** Writes `#value` under the key, unless there is an entry, and keeps the counts. */
  #insert(key: Int32Array, hash: number): Slot {
    const slot = this.table.updateHashed(key, this.#value, UpdateFlag.NO_EXIST, hash)
    this.#insertedGeneration = this.table.writtenGeneration
    if (this.table.hasEvicted) {
      this.#uncount(this.table.evictedKey)
      // Its port may be another flow's at once.
      markChanged(this.table.words)
    }
    if (slot >= 0) this.#count(key)
    return slot
  }

  #count(key: Int32Array): void {
    const protocol = key[SnatKey.PROTOCOL] as number
    if ((protocol & SnatDirection.IN) === 0) return
    this.portUse.take(natRow(protocol & 0xff), (key[SnatKey.PORTS] as number) & 0xffff)
    this.#destinations.take(key)
  }

  #uncount(key: Int32Array): void {
    const protocol = key[SnatKey.PROTOCOL] as number
    if ((protocol & SnatDirection.IN) === 0) return
    this.portUse.release(natRow(protocol & 0xff), (key[SnatKey.PORTS] as number) & 0xffff)
    this.#destinations.release(key)
  }
}
