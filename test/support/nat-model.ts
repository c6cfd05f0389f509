/** A source NAT over maps of its own, packets for it as tuples, and what must be true of it always. */
import { Prng } from '../../src/base/prng.js'
import type { MakeMap } from '../../src/maps/map.js'
import { addHostPort, HOST_PORTS_WORDS } from '../../src/nat/host-ports.js'
import { NatMaps } from '../../src/nat/nat-maps.js'
import { natRow, PORTS_PER_ROW } from '../../src/nat/nat-protocol.js'
import { PortUse } from '../../src/nat/port-use.js'
import { SNAT_KEY_WORDS, SnatDirection, SnatKey } from '../../src/nat/snat-entry.js'
import type { SourceNat } from '../../src/nat/source-nat.js'
import { parseIpv4 } from '../../src/wire/address.js'
import { Protocol } from '../../src/wire/protocols.js'

export const ACK = 16
export const SYN = 2

export interface Flow {
  readonly protocol: number
  readonly source: number
  readonly sourcePort: number
  readonly destination: number
  readonly port: number
}

export const flow = (
  protocol: number,
  source: string,
  sourcePort: number,
  destination = '198.51.100.1',
  port = protocol === Protocol.ICMPV4 ? 0 : 53,
): Flow => ({
  protocol,
  source: parseIpv4(source),
  sourcePort,
  destination: parseIpv4(destination),
  port,
})

const tuple = (from: number, to: number, ports: number, protocol: number): Int32Array =>
  Int32Array.of(0, 0, 0xffff, from, 0, 0, 0xffff, to, ports, protocol)

/** As tuple.ts reads it: the identifier of an echo request is its destination port. */
export function requestOf(f: Flow): Int32Array {
  const isIcmp = f.protocol === Protocol.ICMPV4
  const ports = isIcmp ? f.sourcePort : (f.sourcePort << 16) | f.port
  return tuple(f.source, f.destination, ports, f.protocol)
}

/** What the other side answers to a packet from that address and port. */
export function replyTo(f: Flow, address4: number, port: number): Int32Array {
  const isIcmp = f.protocol === Protocol.ICMPV4
  const ports = isIcmp ? port << 16 : (f.port << 16) | port
  return tuple(f.destination, address4, ports, f.protocol)
}

export class NatUnderTest {
  readonly maps: NatMaps
  nat: SourceNat
  readonly marks = new Uint8Array(3 * PORTS_PER_ROW)
  readonly address4 = parseIpv4('192.0.2.2')
  now = 1000
  readonly #hostPorts = new Int32Array(HOST_PORTS_WORDS)

  constructor(seed: number, snat = 4096, destinations = 1024) {
    const make: MakeMap = (kind, spec) =>
      kind.create(spec, new SharedArrayBuffer(kind.bytesFor(spec)))
    this.maps = new NatMaps(make, { snat, destinations })
    this.nat = this.maps.sourceNat(0, new Prng(seed))
    this.nat.portUse.attach(this.marks)
  }

  range(low: number, high: number): void {
    this.maps.settings.set(true, false, low, high)
  }

  useByHost(row: number, port: number): void {
    addHostPort(this.#hostPorts, row, port)
    this.maps.hostPorts.replace(this.#hostPorts)
  }

  /** The flow's port, or -1. */
  forward(f: Flow, address4 = this.address4, flags = 0): number {
    const isMapped = this.nat.forward(requestOf(f), 0, address4, flags, ACK, this.now)
    return isMapped ? this.nat.port : -1
  }

  /** "address:port" as numbers of whom the answer to that port is for; '' if nobody. */
  reverse(f: Flow, port: number, address4 = this.address4): string {
    const isMapped = this.nat.reverse(replyTo(f, address4, port), 0, ACK, this.now)
    return isMapped ? `${this.nat.address4}:${this.nat.port}` : ''
  }

  /** Takes a half away, as an eviction does. */
  drop(direction: number, choose: (key: Int32Array) => boolean): boolean {
    const key = new Int32Array(SNAT_KEY_WORDS)
    const value = new Int32Array(this.maps.snat.spec.valueWords)
    for (const slot of this.maps.snat.slots()) {
      this.maps.snat.read(slot, key, value)
      if (((key[SnatKey.PROTOCOL] ?? 0) & SnatDirection.IN) !== direction || !choose(key)) continue
      this.nat.mappings.remove(slot, this.maps.snat.generation(slot), key)
      return true
    }
    return false
  }

  /** What is wrong with the counts and marks, by the entries that are there; empty if nothing. */
  problems(): string[] {
    return natProblems(this.maps, this.marks)
  }
}

/** @param marks of a steering program that was attached all the time */
export function natProblems(maps: NatMaps, marks: Uint8Array): string[] {
  const counts = new Int32Array(4 * PORTS_PER_ROW)
  const destinations = new Map<string, number>()
  const key = new Int32Array(SNAT_KEY_WORDS)
  const value = new Int32Array(maps.snat.spec.valueWords)
  for (const slot of maps.snat.slots()) {
    maps.snat.read(slot, key, value)
    const [source = 0, destination = 0, ports = 0, protocol = 0] = key
    if ((protocol & SnatDirection.IN) === 0) continue
    const at = natRow(protocol & 0xff) * PORTS_PER_ROW + (ports & 0xffff)
    counts[at] = (counts[at] ?? 0) + 1
    const name = `${destination},${source},${((ports >>> 16) << 16) | (protocol & 0xff)}`
    destinations.set(name, (destinations.get(name) ?? 0) + 1)
  }
  const problems: string[] = []
  const use = new PortUse(maps.portUse)
  for (const [at, count] of counts.entries()) {
    const row = Math.floor(at / PORTS_PER_ROW)
    const port = at % PORTS_PER_ROW
    const counted = use.count(row, port)
    if (counted !== count) problems.push(`row ${row} port ${port}: ${counted}, not ${count}`)
    const mark = marks[at]
    if (mark !== undefined && mark !== (count > 0 ? 1 : 0)) problems.push(`mark of ${port}`)
  }
  return [...problems, ...destinationProblems(maps, destinations)]
}

function destinationProblems(maps: NatMaps, expected: ReadonlyMap<string, number>): string[] {
  const map = maps.destinations
  const problems: string[] = []
  const key = new Int32Array(3)
  const value = new Int32Array(1)
  for (const slot of map.slots()) {
    map.read(slot, key, value)
    const name = key.join(',')
    if (expected.get(name) !== value[0]) problems.push(`destination ${name}: ${value[0]}`)
  }
  if (map.size !== expected.size) problems.push(`${map.size} destinations, not ${expected.size}`)
  return problems
}
