/**
 * Source NAT (Cilium: snat_v4_nat_handle_mapping, snat_v4_new_mapping and snat_v4_rev_nat of
 * bpf/lib/nat.h): many senders share the node's address, each flow with a port that no other flow
 * toward the same destination has. Mappings alone are here; packets are rewritten by the stages.
 *
 * A port is a flow's own by its reverse entry, which is made only where there is none. Either half
 * may be evicted from a full table, and is made again from the other by the next packet that finds
 * that one. A half whose other belongs to somebody else, or to nobody any more, is thrown away.
 *
 * Several workers may do all this at once, with one flow, too: a port is taken by one insertion of one
 * of them, and the flow's forward entry is made where there is none, so that both use what the first one
 * made.
 */
import type { Prng } from '../base/prng.js'
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { EXISTS, NOT_FOUND, type Slot } from '../maps/map.js'
import type { DestinationUse } from './destination-use.js'
import type { HostPorts } from './host-ports.js'
import { MappingTable } from './mapping-table.js'
import { NatRow, natRow, PORTS_PER_ROW } from './nat-protocol.js'
import type { NatPortRange } from './nat-settings.js'
import { PORT_TRIES_MAX, PortProbe } from './port-probe.js'
import type { PortUse } from './port-use.js'
import {
  expiryOf,
  leadsTo,
  needsCt,
  pointTo,
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
  readonly mappings: MappingTable
  /** Where the steering programs of uplinks are told of ports in use. */
  readonly portUse: PortUse
  readonly #hostPorts: HostPorts
  readonly #destinations: DestinationUse
  readonly #range: NatPortRange
  readonly #histogram: Float64Array
  readonly #probe: PortProbe
  /** Of the packet's half, and of the other one. */
  readonly #key = new Int32Array(SNAT_KEY_WORDS)
  readonly #value = new Int32Array(SNAT_VALUE_WORDS)
  readonly #partner = new Int32Array(SNAT_KEY_WORDS)
  readonly #partnerValue = new Int32Array(SNAT_VALUE_WORDS)

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
  /** Words touched ahead; kept so that no compiler may drop the loads. */
  touched = 0
  /** Ports became scarce: the collector is to look at once. It takes the sign down. */
  isFillingUp = false

  constructor(maps: SourceNatMaps, random: Prng) {
    this.portUse = maps.portUse
    this.mappings = new MappingTable(maps.table, maps.portUse, maps.destinations)
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
    const hash = this.mappings.entries.hash(this.#key)
    this.#touchHalves(hash, address4)
    for (let tries = 0; tries < BEGINS_MAX; tries++) {
      const slot = this.#find(hash)
      if (slot !== NOT_FOUND) {
        const isWanted = this.address4 === address4 && this.needsCt === needsCt(flags)
        if (this.#goesOn(slot, expires, isWanted)) return true
      }
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
    const slot = this.#find()
    return slot !== NOT_FOUND && this.#goesOn(slot, expiryOf(this.#key, tcpFlags, nowSeconds), true)
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
    this.mappings.removeInserted(this.#madeForward, this.#madeForwardGeneration)
    this.mappings.removeInserted(this.#madeReverse, this.#madeReverseGeneration)
    this.beginPacket()
  }

  /** Reads where both halves lie, or will as a rule, so that their cache misses overlap. */
  #touchHalves(hash: number, address4: number): void {
    const partner = this.#partner
    const { entries } = this.mappings
    writePartnerKey(partner, this.#key, address4, (this.#key[SnatKey.PORTS] as number) >>> 16)
    this.touched = entries.touch(hash) ^ entries.touch(entries.hash(partner))
  }

  /** The half with `#key`, whose value it reads; NOT_FOUND without one. */
  #find(hash?: number): Slot {
    const value = this.#value
    const slot = this.mappings.read(this.#key, value, hash)
    if (slot === NOT_FOUND) return NOT_FOUND
    this.address4 = value[Snat.ADDRESS] as number
    this.port = value[Snat.PORT] as number
    this.needsCt = needsCt(value[Snat.FLAGS] as number)
    return slot
  }

  /**
   * The half that was just found goes on, and so does the other, which is made again where it is gone.
   * False when it is not wanted, or the other is another mapping's by now: then what is the flow's own is
   * removed.
   */
  #goesOn(slot: Slot, expires: number, isWanted: boolean): boolean {
    const mappings = this.mappings
    const { generation } = mappings
    writePartnerKey(this.#partner, this.#key, this.address4, this.port)
    const other = mappings.read(this.#partner, this.#partnerValue)
    const isOwn = other === NOT_FOUND || leadsTo(this.#partnerValue, this.#key)
    if (!(isOwn && isWanted)) {
      if (isOwn && other !== NOT_FOUND) mappings.remove(other, mappings.generation, this.#partner)
      mappings.remove(slot, generation, this.#key)
      return false
    }
    mappings.setExpires(slot, expires)
    if (other === NOT_FOUND) this.#restore(expires)
    else mappings.setExpires(other, expires)
    return true
  }

  /** Makes the missing half again, as old as the one that was found. */
  #restore(expires: number): void {
    const value = this.#partnerValue
    value.set(this.#value)
    pointTo(value, this.#key)
    value[Snat.EXPIRES] = expires
    this.mappings.insert(this.#partner, value)
  }

  /** @param hash of `#key`, the forward one */
  #allocate(hash: number, address4: number, flags: number, expires: number, created: number): Made {
    const mappings = this.mappings
    const value = this.#value
    const sourcePort = (this.#key[SnatKey.PORTS] as number) >>> 16
    value[Snat.EXPIRES] = expires
    value[Snat.CREATED] = created
    value[Snat.FLAGS] = flags
    const port = this.#takePort(address4, sourcePort)
    if (port < 0) return Made.NOT
    value[Snat.ADDRESS] = address4
    value[Snat.PORT] = port
    const forward = mappings.insert(this.#key, value, hash)
    if (forward === EXISTS) {
      // Another worker was first; it may have taken up the very port.
      const theirs = mappings.read(this.#key, value)
      const isSame = theirs !== NOT_FOUND && leadsTo(value, this.#partner)
      if (!isSame) mappings.removeInserted(this.#madeReverse, this.#madeReverseGeneration)
      this.#madeReverse = NOT_FOUND
      return Made.ELSEWHERE
    }
    const { generation } = mappings
    // In a table of a few entries the one may have evicted the other.
    if (forward < 0 || (mappings.entries.hasEvicted && !this.#ownsPort())) {
      mappings.removeKey(this.#partner)
      mappings.removeKey(this.#key)
      this.#fail()
      return Made.NOT
    }
    this.#madeForward = forward
    this.#madeForwardGeneration = generation
    this.address4 = address4
    this.port = port
    this.needsCt = needsCt(flags)
    return Made.HERE
  }

  /** Makes the reverse half; its port, or -1. `#value` has all but where it leads. */
  #takePort(address4: number, sourcePort: number): number {
    const row = natRow((this.#key[SnatKey.PROTOCOL] as number) & 0xff)
    const isIcmp = row === NatRow.ICMP
    const isOfHost = this.#key[SnatKey.SOURCE] === address4
    const mappings = this.mappings
    const probe = this.#probe
    const low = isIcmp ? 0 : this.#range.natPortLow
    const high = isIcmp ? PORTS_PER_ROW - 1 : this.#range.natPortHigh
    probe.begin(sourcePort, low, high)
    this.exhaustedRange = high - low + 1
    pointTo(this.#value, this.#key)
    writePartnerKey(this.#partner, this.#key, address4, low)
    for (let port = probe.next(); port >= 0; port = probe.next()) {
      // A socket of the node may keep its own port.
      const isKept = isOfHost && port === sourcePort
      if (!isKept && this.#hostPorts.has(row, port)) continue
      writePartnerKey(this.#partner, this.#key, address4, port)
      const reverse = mappings.insert(this.#partner, this.#value)
      // The flow's own, whose forward half was evicted, is taken up again.
      const isTaken = reverse >= 0 || (reverse === EXISTS && this.#ownsPort())
      if (!isTaken) continue
      this.#madeReverse = reverse
      if (reverse >= 0) this.#madeReverseGeneration = mappings.generation
      this.#countTries(probe.tries - 1)
      return port
    }
    this.#fail()
    return -1
  }

  /** Is there the reverse half with `#partner`, and is it the flow's? */
  #ownsPort(): boolean {
    const slot = this.mappings.read(this.#partner, this.#partnerValue)
    return slot !== NOT_FOUND && leadsTo(this.#partnerValue, this.#key)
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

  /** The mapping of the flow whose other direction's packet `#key` was made of. */
  #findTurned(): boolean {
    const key = this.#key
    const source = key[SnatKey.SOURCE] as number
    const ports = key[SnatKey.PORTS] as number
    key[SnatKey.SOURCE] = key[SnatKey.DESTINATION] as number
    key[SnatKey.DESTINATION] = source
    key[SnatKey.PORTS] = (ports << 16) | (ports >>> 16)
    key[SnatKey.PROTOCOL] = (key[SnatKey.PROTOCOL] as number) ^ SnatDirection.IN
    return this.#find() !== NOT_FOUND
  }
}
