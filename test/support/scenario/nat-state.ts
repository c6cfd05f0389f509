/** Source NAT mappings as scenarios speak of them: a flow, and the address and port it leaves with. */

import { UpdateFlag } from '../../../src/maps/map.js'
import { addHostPort, HOST_PORTS_WORDS } from '../../../src/nat/host-ports.js'
import { natRow } from '../../../src/nat/nat-protocol.js'
import {
  SNAT_KEY_WORDS,
  SNAT_VALUE_WORDS,
  Snat,
  SnatDirection,
  SnatKey,
  writePartnerKey,
} from '../../../src/nat/snat-entry.js'
import type { DatapathMaps } from '../../../src/pipeline/datapath-maps.js'
import { formatIpv4, parseIpv4 } from '../../../src/wire/address.js'
import { PROTOCOL_NUMBERS } from './frame.js'
import type { Names } from './names.js'
import type { NatSpec, NodeSpec, StateSpec } from './types.js'
import type { World } from './world.js'

/** Existing mappings live so long. */
const MAPPING_SECONDS = 60

export interface Mapping {
  readonly protocol: number
  readonly from: string
  readonly fromPort: number
  readonly to: string
  readonly toPort: number
  readonly natAddress: string
  readonly natPort: number
  /** The half that answers are found by is there, and leads back. */
  readonly isWhole: boolean
}

/** All forward halves, each with a look at its other half. */
export function readMappings(maps: DatapathMaps): Mapping[] {
  const table = maps.nat.snat
  const key = new Int32Array(SNAT_KEY_WORDS)
  const value = new Int32Array(SNAT_VALUE_WORDS)
  const partner = new Int32Array(SNAT_KEY_WORDS)
  const found: Mapping[] = []
  for (const slot of table.slots()) {
    if (!table.read(slot, key, value)) continue
    const protocol = key[SnatKey.PROTOCOL] as number
    if ((protocol & SnatDirection.IN) !== 0) continue
    const ports = key[SnatKey.PORTS] as number
    const natAddress = value[Snat.ADDRESS] as number
    const natPort = value[Snat.PORT] as number
    writePartnerKey(partner, key, natAddress, natPort)
    const other = table.lookup(partner)
    const at = other < 0 ? 0 : table.valueStart(other)
    found.push({
      protocol,
      from: formatIpv4(key[SnatKey.SOURCE] as number),
      fromPort: ports >>> 16,
      to: formatIpv4(key[SnatKey.DESTINATION] as number),
      toPort: ports & 0xffff,
      natAddress: formatIpv4(natAddress),
      natPort,
      isWhole:
        other >= 0 &&
        table.words[at + Snat.ADDRESS] === key[SnatKey.SOURCE] &&
        table.words[at + Snat.PORT] === ports >>> 16,
    })
  }
  return found
}

/** Both halves, as if the first packet of the flow had left. */
export function writeMapping(
  maps: DatapathMaps,
  names: Names,
  spec: NatSpec,
  nowSeconds: number,
): void {
  const [fromPort, toPort] = [names.number(spec.fromPort ?? 0), names.number(spec.toPort ?? 0)]
  const source = parseIpv4(names.address(spec.from))
  const natAddress = parseIpv4(names.address(spec.natAddress ?? 'uplink'))
  const natPort = names.number(spec.natPort ?? fromPort)
  const protocol = PROTOCOL_NUMBERS[spec.protocol]
  const destination = parseIpv4(names.address(spec.to))
  const key = Int32Array.of(source, destination, (fromPort << 16) | toPort, protocol)
  const partner = new Int32Array(SNAT_KEY_WORDS)
  writePartnerKey(partner, key, natAddress, natPort)
  const value = new Int32Array(SNAT_VALUE_WORDS)
  value[Snat.EXPIRES] = nowSeconds + MAPPING_SECONDS
  value[Snat.CREATED] = nowSeconds
  value[Snat.ADDRESS] = natAddress
  value[Snat.PORT] = natPort
  maps.nat.snat.update(key, value, UpdateFlag.ANY)
  value[Snat.ADDRESS] = source
  value[Snat.PORT] = fromPort
  maps.nat.snat.update(partner, value, UpdateFlag.ANY)
}

export function writeHostPorts(
  maps: DatapathMaps,
  ports: NonNullable<NodeSpec['hostPorts']>,
): void {
  const set = new Int32Array(HOST_PORTS_WORDS)
  for (const { protocol, port } of ports) addHostPort(set, natRow(PROTOCOL_NUMBERS[protocol]), port)
  maps.nat.hostPorts.replace(set)
}

export function compareMappings(spec: StateSpec, world: World): string[] {
  if (spec.nat === undefined && spec.natCount === undefined) return []
  const { names } = world
  const mappings = readMappings(world.maps)
  const texts = mappings.map(mappingText)
  const differences: string[] = []
  if (spec.natCount !== undefined && spec.natCount !== mappings.length) {
    differences.push(`${mappings.length} NAT mappings, expected ${spec.natCount}:`, ...texts)
  }
  for (const wanted of spec.nat ?? []) {
    const text = flowText({
      protocol: PROTOCOL_NUMBERS[wanted.protocol],
      from: names.address(wanted.from),
      fromPort: names.number(wanted.fromPort ?? 0),
      to: names.address(wanted.to),
      toPort: names.number(wanted.toPort ?? 0),
    })
    const found = mappings.find((mapping) => flowText(mapping) === text)
    if (wanted.absent === true) {
      if (found !== undefined) differences.push(`${mappingText(found)} is there`)
    } else if (found === undefined) {
      differences.push(`${text} is not there; there are:`, ...texts)
    } else differences.push(...compareMapping(found, wanted, names))
  }
  return differences
}

function compareMapping(found: Mapping, wanted: NatSpec, names: Names): string[] {
  const { natAddress, natPort } = wanted
  const isPlace =
    (natAddress === undefined || names.address(natAddress) === found.natAddress) &&
    (natPort === undefined || names.number(natPort) === found.natPort)
  if (!isPlace) return [`${mappingText(found)}, expected ${natAddress}:${natPort}`]
  return found.isWhole ? [] : [`${mappingText(found)}: its reverse half is missing`]
}

type Flow = Pick<Mapping, 'protocol' | 'from' | 'fromPort' | 'to' | 'toPort'>

const flowText = (flow: Flow): string =>
  `mapping ${flow.protocol} ${flow.from}:${flow.fromPort} > ${flow.to}:${flow.toPort}`

const mappingText = (mapping: Mapping): string =>
  `${flowText(mapping)} as ${mapping.natAddress}:${mapping.natPort}`
