/**
 * What to send, as data: plain values that can be written as JSON and read by another process.
 * Nothing of a machine is in it but the two MAC addresses.
 */
import { formatIpv4, parseIpv4 } from '../wire/address.js'
import { invalid } from './invalid.js'
import type { Rate } from './rate.js'
import type { SizeShare } from './size-mix.js'

/** Consecutive values; flow after flow takes the next. */
export interface ValueRange {
  readonly first: number
  readonly count: number
}

/**
 * `syn`: a TCP SYN per frame. `connection`: SYN, data and FIN of each flow, again and again; one
 * direction of it, without regard to answers.
 */
export const TRAFFIC_MODES = ['udp', 'syn', 'connection'] as const
export type TrafficMode = (typeof TRAFFIC_MODES)[number]

export interface TrafficSpec {
  readonly mode: TrafficMode
  readonly sourceMac: string
  readonly destinationMac: string
  /** 1 to 4094; none when 0. */
  readonly vlan: number
  /** IPv4 addresses as numbers without sign. */
  readonly sources: ValueRange
  readonly destinations: ValueRange
  readonly sourcePorts: ValueRange
  readonly destinationPorts: ValueRange
  /** Frame n belongs to flow n mod this. The source port differs first, the destination last. */
  readonly flows: number
  readonly sizes: readonly SizeShare[]
  readonly rate: Rate
  /** 0: no limit. */
  readonly frames: number
  /** 0: no limit. */
  readonly seconds: number
  readonly hasTimestamps: boolean
  readonly hasUdpChecksum: boolean
  /** Of mode `connection`: frames of each, SYN and FIN among them; 3 or more. */
  readonly framesPerConnection: number
}

/** An address or two with a hyphen, a port or two with a hyphen, with a colon between. */
export interface Ends {
  readonly addresses: ValueRange
  readonly ports: ValueRange
}

const PORTS = 65_536
const ADDRESSES = 2 ** 32
export const FLOWS_MAX = 2 ** 24
const FRAMES_PER_CONNECTION_MIN = 3
const FRAMES_PER_CONNECTION_MAX = 1_000_000
export const SECONDS_MAX = 86_400
const VLAN_MAX = 4_094

/** "10.0.0.1", "10.0.0.1-10.0.0.9:1024-65535". @throws RingpathError CONFIG_INVALID */
export function parseEnds(option: string, text: string, portsDefault: ValueRange): Ends {
  const [addresses = '', ports, ...rest] = text.split(':')
  const wrong = () => invalid(option, text, 'address[-address][:port[-port]], of IPv4')
  if (rest.length > 0) throw wrong()
  const addressOf = (part: string): number => {
    try {
      return parseIpv4(part) >>> 0
    } catch {
      throw wrong()
    }
  }
  return {
    addresses: rangeOf(option, addresses, ADDRESSES, addressOf),
    ports: ports === undefined ? portsDefault : rangeOf(option, ports, PORTS, portOf(option)),
  }
}

const portOf =
  (option: string) =>
  (text: string): number => {
    const port = Number(text)
    if (/^\d+$/.test(text) && port >= 1 && port < PORTS) return port
    throw invalid(option, text, 'ports from 1 to 65535')
  }

function rangeOf(
  option: string,
  text: string,
  limit: number,
  parse: (part: string) => number,
): ValueRange {
  const [from = '', to = from, ...rest] = text.split('-')
  const first = parse(from)
  const last = parse(to)
  if (rest.length > 0 || last < first || last >= limit) {
    throw invalid(option, text, 'one value, or two in rising order with a hyphen')
  }
  return { first, count: last - first + 1 }
}

/** What the ranges have room for. */
export function flowsOf(spec: Omit<TrafficSpec, 'flows'>): number {
  const { sources, destinations, sourcePorts, destinationPorts } = spec
  return sources.count * destinations.count * sourcePorts.count * destinationPorts.count
}

/** @throws RingpathError CONFIG_INVALID for what no generator can send */
export function checkSpec(spec: TrafficSpec): TrafficSpec {
  const within = (option: string, value: number, low: number, high: number) => {
    if (Number.isInteger(value) && value >= low && value <= high) return
    throw invalid(option, value, `a whole number from ${low} to ${high}`)
  }
  within('flows', spec.flows, 1, FLOWS_MAX)
  within('vlan', spec.vlan, 0, VLAN_MAX)
  within('count', spec.frames, 0, Number.MAX_SAFE_INTEGER)
  if (!(spec.seconds >= 0 && spec.seconds <= SECONDS_MAX)) {
    throw invalid('seconds', spec.seconds, `from 0 to ${SECONDS_MAX}`)
  }
  const room = flowsOf(spec)
  if (spec.flows > room) {
    const from = `${formatIpv4(spec.sources.first)} with ${spec.sourcePorts.count} ports`
    throw invalid('flows', spec.flows, `at most ${room}, as from ${from}: give wider ranges`)
  }
  if (spec.mode === 'connection') {
    const most = FRAMES_PER_CONNECTION_MAX
    within('connection-frames', spec.framesPerConnection, FRAMES_PER_CONNECTION_MIN, most)
  }
  if (spec.mode !== 'udp' && spec.sizes.length > 1) {
    throw invalid('size', spec.sizes.map((each) => each.frameBytes).join(), 'one size with TCP')
  }
  return spec
}
