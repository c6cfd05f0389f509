/** What a scenario says of tables, counters and events, held against them. */
import { CtResult } from '../../../src/conntrack/ct-entry.js'
import { EventType, EventWord } from '../../../src/monitor/event.js'
import { type MetricLine, readMetrics } from '../../../src/monitor/metrics.js'
import { PROTOCOL_NUMBERS } from './frame.js'
import type { Names } from './names.js'
import { compareMappings } from './nat-state.js'
import { type Connection, readAffinities, readConnections } from './state.js'
import type { ConnectionSpec, DirectionName, ExpectedEvent, StateSpec } from './types.js'
import type { World } from './world.js'

export const DIRECTIONS: Readonly<Record<DirectionName, number>> = {
  none: 0,
  ingress: 1,
  egress: 2,
  service: 3,
}
const CT_RESULTS = {
  new: CtResult.NEW,
  established: CtResult.ESTABLISHED,
  reply: CtResult.REPLY,
  related: CtResult.RELATED,
} as const
const EVENT_TYPES = {
  drop: EventType.DROP,
  trace: EventType.TRACE,
  policy: EventType.POLICY_VERDICT,
} as const

export function compareState(spec: StateSpec, world: World): string[] {
  const differences: string[] = []
  const connections = readConnections(world.maps, world.nowSeconds)
  for (const wanted of spec.connections ?? []) {
    differences.push(...compareConnection(wanted, connections, world))
  }
  const { connectionCount } = spec
  if (connectionCount !== undefined && connectionCount !== connections.length) {
    const rows = connections.map(rowText)
    differences.push(`${connections.length} connections, expected ${connectionCount}:`, ...rows)
  }
  const { fragmentCount } = spec
  const fragments = world.maps.fragmentsMap.size
  if (fragmentCount !== undefined && fragmentCount !== fragments) {
    differences.push(`${fragments} datagrams in fragments, expected ${fragmentCount}`)
  }
  return [
    ...differences,
    ...compareMappings(spec, world),
    ...compareAffinities(spec, world),
    ...compareCounters(spec, world),
  ]
}

function compareConnection(
  wanted: ConnectionSpec,
  connections: readonly Connection[],
  world: World,
): string[] {
  const { names } = world
  const key = keyOf(wanted, names)
  const found = connections.find((connection) => rowText(connection) === key)
  if (wanted.absent === true) return found === undefined ? [] : [`${key} is there`]
  if (found === undefined) return [`${key} is not there; there are:`, ...connections.map(rowText)]
  const expected = {
    flags: wanted.flags === undefined ? undefined : [...wanted.flags].sort(),
    lifetimeSeconds: world.isLive ? undefined : wanted.lifetimeSeconds,
    sourceIdentity:
      wanted.sourceIdentity === undefined ? undefined : names.identity(wanted.sourceIdentity),
    packets: wanted.packets,
    bytes: wanted.bytes,
    service: wanted.service === undefined ? undefined : serviceText(wanted.service, names),
    backend: wanted.backend === undefined ? undefined : names.address(wanted.backend),
  }
  const is = { ...found, flags: [...found.flags].sort() }
  return Object.entries(expected).flatMap(([field, value]) => {
    if (value === undefined) return []
    const [a, b] = [JSON.stringify(is[field as keyof typeof is]), JSON.stringify(value)]
    return a === b ? [] : [`${key}: ${field} is ${a}, expected ${b}`]
  })
}

function keyOf(spec: ConnectionSpec, names: Names): string {
  return rowText({
    side: spec.side,
    protocol: PROTOCOL_NUMBERS[spec.protocol],
    from: names.address(spec.from),
    fromPort: names.number(spec.fromPort ?? 0),
    to: names.address(spec.to),
    toPort: names.number(spec.toPort ?? 0),
  })
}

type Key = Pick<Connection, 'side' | 'protocol' | 'from' | 'fromPort' | 'to' | 'toPort'>

const rowText = (row: Key): string =>
  `connection ${row.side} ${row.protocol} ${row.from}:${row.fromPort} > ${row.to}:${row.toPort}`

/** "vip:80" or "10.96.0.10:80". */
function serviceText(text: string, names: Names): string {
  if (text === '') return ''
  const [address = '', port] = text.split(':')
  return `${names.address(address)}:${port}`
}

function compareAffinities(spec: StateSpec, world: World): string[] {
  if (spec.affinities === undefined) return []
  const rows = readAffinities(world.maps)
  return spec.affinities.flatMap((wanted) => {
    const client = world.names.address(wanted.client)
    const found = rows.find((row) => row.client === client)
    if (wanted.absent === true) return found === undefined ? [] : [`${client} has an affinity`]
    if (found === undefined) return [`${client} has no affinity`]
    if (wanted.backend === undefined) return []
    const backend = world.names.address(wanted.backend)
    return found.backend === backend ? [] : [`affinity is ${found.backend}, expected ${backend}`]
  })
}

function compareCounters(spec: StateSpec, world: World): string[] {
  const lines = readMetrics(world.maps.metrics)
  return (spec.counters ?? []).flatMap(({ reason, direction, frames, bytes }) => {
    const isAsked = (line: MetricLine) =>
      line.reason === reason && (!direction || line.direction === DIRECTIONS[direction])
    const total = (among: readonly MetricLine[], field: 'frames' | 'bytes') =>
      among.filter(isAsked).reduce((n, line) => n + line[field], 0)
    const sum = (field: 'frames' | 'bytes') =>
      total(lines, field) - total(world.countersBefore, field)
    const at = `counter ${reason} ${direction ?? ''}`
    const faults: string[] = []
    if (frames !== undefined && sum('frames') !== frames) {
      faults.push(`${at}: ${sum('frames')} frames, expected ${frames}`)
    }
    if (bytes !== undefined && sum('bytes') !== bytes) {
      faults.push(`${at}: ${sum('bytes')} bytes, expected ${bytes}`)
    }
    return faults
  })
}

/** Each expected event has to be there, in this order; others may be between them. */
export function compareEvents(
  wanted: readonly ExpectedEvent[],
  events: readonly Int32Array[],
  names: Names,
): string[] {
  let from = 0
  for (const expected of wanted) {
    const at = events.findIndex((event, i) => i >= from && isLike(event, expected, names))
    if (at === -1) return [`no event ${JSON.stringify(expected)}`]
    from = at + 1
  }
  return []
}

function isLike(event: Int32Array, wanted: ExpectedEvent, names: Names): boolean {
  const same = (word: number, value: number | undefined): boolean =>
    value === undefined || event[word] === value
  const identity = (value: number | string | undefined) =>
    value === undefined ? undefined : names.identity(value)
  const { direction, ctResult, endpoint } = wanted
  return (
    same(EventWord.TYPE, EVENT_TYPES[wanted.type]) &&
    same(EventWord.CODE, wanted.code ?? wanted.point) &&
    same(EventWord.DIRECTION, direction === undefined ? undefined : DIRECTIONS[direction]) &&
    same(EventWord.CT_RESULT, ctResult === undefined ? undefined : CT_RESULTS[ctResult]) &&
    same(EventWord.POLICY_MATCH, wanted.match) &&
    same(EventWord.RULE_COOKIE, wanted.cookie) &&
    same(EventWord.IS_AUDITED, wanted.audited === undefined ? undefined : Number(wanted.audited)) &&
    same(EventWord.SOURCE_IDENTITY, identity(wanted.sourceIdentity)) &&
    same(EventWord.DESTINATION_IDENTITY, identity(wanted.destinationIdentity)) &&
    same(EventWord.ENDPOINT, endpoint === undefined ? undefined : names.port(endpoint).endpointId)
  )
}

const TYPE_NAMES: Readonly<Record<number, string>> = { 1: 'drop', 4: 'trace', 5: 'policy' }

/** One line for a failed scenario. */
export function describeEvent(event: Int32Array): string {
  const word = (index: number) => event[index] as number
  const type = TYPE_NAMES[word(EventWord.TYPE)] ?? word(EventWord.TYPE)
  const identities = `${word(EventWord.SOURCE_IDENTITY)}>${word(EventWord.DESTINATION_IDENTITY)}`
  const result = word(EventWord.CT_RESULT)
  const ct = Object.entries(CT_RESULTS).find(([, number]) => number === result)?.[0]
  return (
    `${type} ${word(EventWord.CODE)}, direction ${word(EventWord.DIRECTION)}, ` +
    `identities ${identities}, ct ${ct}, match ${word(EventWord.POLICY_MATCH)}, ` +
    `cookie ${word(EventWord.RULE_COOKIE)}, stage ${word(EventWord.STAGE)}`
  )
}
