/**
 * Writes what holds at the node's uplinks: announced addresses, denied sources, allowed VLANs.
 * Validated whole before the first word is stored.
 */
import { monotonicTime } from 'xdp-socket-napi'
import { assert } from '../base/assert.js'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { PORTS_MAX } from '../base/limits.js'
import { PortKind } from '../endpoint/endpoint-table.js'
import { Identity } from '../identity/identity.js'
import { UpdateFlag } from '../maps/map.js'
import { ANNOUNCEMENT_KEY_WORDS, type NetdevMaps, VLAN_IDS } from '../netdev/netdev-maps.js'
import { VlanFilter } from '../netdev/vlan-filter.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import {
  type Cidr,
  formatCidr,
  ipv4Words,
  isIpv4Words,
  parseCidr,
  parseIpv4,
} from '../wire/address.js'

export class NetdevWriter {
  readonly #nodeMaps: DatapathMaps
  readonly #maps: NetdevMaps
  readonly #vlans: VlanFilter

  constructor(maps: DatapathMaps) {
    this.#nodeMaps = maps
    this.#maps = maps.netdev
    this.#vlans = new VlanFilter(maps.netdev)
  }

  /**
   * A sign of life of the control plane, due every few seconds: without one for 15 s the node stops
   * answering for announced addresses.
   */
  signAlive(nowSeconds = monotonicTime().seconds): void {
    this.#nodeMaps.node.signAgentAlive(nowSeconds)
  }

  /**
   * Lets the node answer ARP for an address, on all uplinks unless `devices` names some, and make
   * itself known there; ECONFIG_INVALID or EMAP_FULL with nothing changed.
   */
  announce(address: string, devices?: readonly string[]): void {
    const address4 = parseIpv4(address)
    const first = address4 >>> 24
    if (first === 0 || first === 127 || first >= 224) {
      throw invalid('announcement.address', address, 'an address that one host can have')
    }
    if (this.#isOwnAddress(address4)) {
      throw invalid('announcement.address', address, 'an address that the node itself has not')
    }
    const uplinks = this.#uplinks()
    const ports = (devices ?? [...uplinks.keys()]).map((device) => {
      const port = uplinks.get(device)
      if (port === undefined) throw invalid('announcement.devices', device, 'an uplink')
      return port
    })
    if (ports.length === 0) throw invalid('announcement.devices', '[]', 'at least one uplink')
    const { announced } = this.#maps
    const isNew = ports.filter((port) => announced.lookup(keyOf(address4, port)) < 0)
    if (announced.size + isNew.length > announced.capacity) {
      throw full('l2_responder_v4', announced.capacity)
    }
    const none = new Int32Array(1)
    for (const port of isNew) announced.update(keyOf(address4, port), none, UpdateFlag.ANY)
    for (const port of uplinks.values()) {
      if (!ports.includes(port)) announced.delete(keyOf(address4, port))
    }
  }

  /** True when it was announced. */
  withdraw(address: string): boolean {
    const address4 = parseIpv4(address)
    const ports = [...this.#uplinks().values()]
    return ports.filter((port) => this.#maps.announced.delete(keyOf(address4, port))).length > 0
  }

  /** Those prefixes of IPv4, and no others. */
  setDeniedSources(cidrs: readonly string[]): void {
    const wanted = new Map<string, Cidr>()
    for (const text of cidrs) {
      const cidr = parseCidr(text)
      if (!isIpv4Words(cidr.words) || cidr.prefixBits < 96) {
        throw invalid('deniedSources', text, 'a prefix of IPv4')
      }
      wanted.set(formatCidr(cidr), cidr)
    }
    const { denied } = this.#maps
    if (wanted.size > denied.capacity) throw full('cidr_v4_dyn', denied.capacity)
    const prefix = new Int32Array(5)
    const value = new Int32Array(1)
    for (const slot of [...denied.slots()]) {
      if (!denied.read(slot, prefix, value)) continue
      const cidr = { words: prefix.slice(0, 4), prefixBits: prefix[4] ?? 0 }
      if (!wanted.has(formatCidr(cidr))) denied.delete(cidr.words, cidr.prefixBits)
    }
    for (const { words, prefixBits } of wanted.values()) {
      const slot = denied.update(words, prefixBits, value)
      assert(slot >= 0, 'a map of so few prefixes has tables for each')
    }
  }

  /** Ids 1 to 4094, and no others. */
  setAllowedVlans(ids: readonly number[]): void {
    for (const id of ids) {
      if (Number.isInteger(id) && id >= 1 && id <= VLAN_IDS - 2) continue
      throw invalid('allowedVlans', String(id), `a whole number from 1 to ${VLAN_IDS - 2}`)
    }
    this.#vlans.set(ids)
  }

  /** The kernel answers for it. */
  #isOwnAddress(address4: number): boolean {
    return this.#nodeMaps.ipcache.find(ipv4Words(address4), 0) === Identity.HOST
  }

  #uplinks(): ReadonlyMap<string, number> {
    const { endpoints, ports } = this.#nodeMaps
    const found = new Map<string, number>()
    for (let port = 0; port < PORTS_MAX; port++) {
      if (endpoints.kind(port) === PortKind.UPLINK) found.set(ports.device(port), port)
    }
    return found
  }
}

function keyOf(address4: number, port: number): Int32Array {
  const key = new Int32Array(ANNOUNCEMENT_KEY_WORDS)
  key[0] = address4
  key[1] = port
  return key
}

function full(map: string, capacity: number): RingpathError {
  return new RingpathError(ErrorCode.MAP_FULL, `map ${map}: more than its ${capacity} entries`)
}

function invalid(field: string, value: string, expected: string): RingpathError {
  return new RingpathError(ErrorCode.CONFIG_INVALID, `${field}: '${value}', expected ${expected}`)
}
