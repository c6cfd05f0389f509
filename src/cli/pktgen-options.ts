/** The options of `ringpath pktgen` as what the generator works with; mistakes are named. */
import { findDevice, nextHopMac } from '../pktgen/device.js'
import { invalid } from '../pktgen/invalid.js'
import { planOf, type TrafficPlan } from '../pktgen/plan.js'
import { framesPerSecond, parseRate } from '../pktgen/rate.js'
import type { Engine } from '../pktgen/sender.js'
import type { SinkHook } from '../pktgen/sink.js'
import { parseSizes, type SizeShare } from '../pktgen/size-mix.js'
import {
  checkSpec,
  parseEnds,
  type TrafficMode,
  type TrafficSpec,
  type ValueRange,
} from '../pktgen/traffic-spec.js'
import { formatIpv4, parseMac } from '../wire/address.js'
import { VLAN_TAG_BYTES } from '../wire/vlan.js'

export interface PktgenOptions {
  readonly device?: string
  readonly engine: Engine
  readonly mode: TrafficMode
  readonly to?: string
  readonly from?: string
  readonly toMac?: string
  readonly fromMac?: string
  readonly vlan: number
  readonly flows: number
  readonly size?: string
  readonly rate: string
  readonly count: number
  readonly seconds?: number
  readonly connectionFrames: number
  readonly timestamps: boolean
  readonly udpChecksum: boolean
  readonly core?: number
  readonly queue: number
  readonly allowDefaultRoute: boolean
  readonly sink?: string
  readonly sinkHook: SinkHook
  readonly sinkNamespace?: string
  readonly sinkPlain: boolean
  readonly settle: number
  readonly search: boolean
  readonly trial: number
  readonly resolution: number
  readonly lossTolerance: number
  readonly attempts: number
  readonly searchFrom: string
  readonly searchTo: string
  readonly print?: number | true
  readonly write?: string
  readonly output: 'table' | 'json'
}

const SOURCE_PORTS: ValueRange = { first: 1_024, count: 64_512 }
/** The discard service. */
const DESTINATION_PORTS: ValueRange = { first: 9, count: 1 }
const SIZE_DEFAULT = { udp: '60', syn: '60', connection: '128' } as const
const SECONDS_DEFAULT = 10
/** Of a dry run, which looks at no device: locally administered, so nobody's. */
const NO_DEVICE_MAC = '02:00:00:00:00:01'
const NO_DEVICE_ADDRESS = '192.0.2.1'

/** Whether frames are only shown or written, and no device is needed. */
export const isDryRun = (options: PktgenOptions): boolean =>
  options.print !== undefined || options.write !== undefined

/** @throws RingpathError CONFIG_INVALID, WIRE_ADDRESS */
export function trafficPlanOf(options: PktgenOptions): TrafficPlan {
  if (options.to === undefined) throw invalid('to', '', 'where to send: 10.0.0.2 or 10.0.0.2:80')
  const to = parseEnds('to', options.to, DESTINATION_PORTS)
  const ends = localEnds(options, formatIpv4(to.addresses.first))
  const from = parseEnds('from', ends.from, SOURCE_PORTS)
  const seconds = options.seconds ?? (options.count > 0 ? 0 : SECONDS_DEFAULT)
  const spec: TrafficSpec = checkSpec({
    mode: options.mode,
    sourceMac: macOf('from-mac', ends.sourceMac),
    destinationMac: macOf('to-mac', ends.destinationMac),
    vlan: options.vlan,
    sources: from.addresses,
    destinations: to.addresses,
    sourcePorts: from.ports,
    destinationPorts: to.ports,
    flows: options.flows,
    sizes: sizesOf(options),
    rate: parseRate(options.rate),
    frames: options.count,
    seconds,
    hasTimestamps: options.timestamps,
    hasUdpChecksum: options.udpChecksum,
    framesPerConnection: options.connectionFrames,
  })
  const plan = planOf(spec)
  if (ends.frameBytesMax < plan.frameBytesMax) {
    throw invalid('size', plan.frameBytesMax, `at most ${ends.frameBytesMax}, by the device's MTU`)
  }
  return plan
}

/** Frames per second between which is searched. @throws RingpathError CONFIG_INVALID */
export function searchRangeOf(
  { searchFrom, searchTo }: Pick<PktgenOptions, 'searchFrom' | 'searchTo'>,
  sizes: readonly SizeShare[],
): { readonly lowest: number; readonly highest: number } {
  const rateOf = (option: string, text: string): number => {
    const rate = framesPerSecond(parseRate(text, option), sizes)
    if (rate > 0) return rate
    throw invalid(option, text, 'a rate such as 500k, 1.5M or 1Gbit')
  }
  const lowest = rateOf('search-from', searchFrom)
  const highest = rateOf('search-to', searchTo)
  if (lowest <= highest) return { lowest, highest }
  throw invalid('search-from', searchFrom, `at most --search-to, which is ${searchTo}`)
}

/** The mix grows by its VLAN tag; sizes that are said mean the whole frame. */
function sizesOf({ size, mode, vlan }: PktgenOptions): readonly SizeShare[] {
  const isMix = size === undefined || size.toLowerCase() === 'imix'
  const shares = parseSizes(size ?? SIZE_DEFAULT[mode])
  if (!isMix || vlan === 0 || mode === 'syn') return shares
  return shares.map((share) => ({ ...share, frameBytes: share.frameBytes + VLAN_TAG_BYTES }))
}

function macOf(option: string, text: string): string {
  try {
    parseMac(text)
    return text
  } catch {
    throw invalid(option, text, 'a MAC address such as 02:00:00:00:00:02')
  }
}

interface LocalEnds {
  readonly from: string
  readonly sourceMac: string
  readonly destinationMac: string
  readonly frameBytesMax: number
}

const HEADERS_BEFORE_MTU = 14

function localEnds(options: PktgenOptions, destination: string): LocalEnds {
  if (options.device === undefined) {
    if (!isDryRun(options)) throw invalid('device', '', 'the device to send from; none is guessed')
    return {
      from: options.from ?? NO_DEVICE_ADDRESS,
      sourceMac: options.fromMac ?? NO_DEVICE_MAC,
      destinationMac: options.toMac ?? NO_DEVICE_MAC,
      frameBytesMax: Number.POSITIVE_INFINITY,
    }
  }
  const device = findDevice(options.device)
  if (!isDryRun(options)) {
    if (!device.isUp) throw invalid('device', device.name, 'a device that is up')
    if (device.hasDefaultRoute && !options.allowDefaultRoute) {
      const why = 'a device without the default route, or --allow-default-route when you mean it'
      throw invalid('device', device.name, why)
    }
  }
  const from = options.from ?? device.address
  if (from === undefined) throw invalid('from', '', `an address: ${device.name} has none`)
  const destinationMac = options.toMac ?? nextHopMac(device.name, destination)
  if (destinationMac === undefined) {
    throw invalid('to-mac', '', `a MAC address: the kernel knows none for ${destination}; ping it`)
  }
  const sourceMac = options.fromMac ?? device.mac
  const tag = options.vlan === 0 ? 0 : VLAN_TAG_BYTES
  const frameBytesMax = device.mtuBytes + HEADERS_BEFORE_MTU + tag
  return { from, sourceMac, destinationMac, frameBytesMax }
}
