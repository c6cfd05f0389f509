/**
 * The kernel's own packet generator by its files (Documentation/networking/pktgen.rst): what is
 * written to configure it, and what its results say. It stamps and numbers its frames in its own way,
 * which our sinks know. UDP over IPv4 of one size only; no bits per second, one device and thread.
 */
import { formatIpv4 } from '../wire/address.js'
import { UDP_HEADER_BYTES } from '../wire/udp.js'
import { invalid } from './invalid.js'
import { framesPerSecond } from './rate.js'
import type { SendOptions } from './sender.js'
import type { ValueRange } from './traffic-spec.js'

export const PKTGEN_FOLDER = '/proc/net/pktgen'

export interface PktgenWrite {
  /** A file of PKTGEN_FOLDER. */
  readonly file: string
  readonly text: string
}

/** Ethernet's, IPv4's and UDP's headers and pktgen's own 16 bytes. */
const FRAME_BYTES_MIN = 14 + 20 + UDP_HEADER_BYTES + 16
/** It has flow counts up to this (MAX_CFLOWS). */
const FLOWS_MAX = 65_536
const PORT_MAX = 65_535

const last = ({ first, count }: ValueRange): number => first + count - 1

/**
 * In the order of writing; `start` comes after them, and returns when all is sent.
 * @param thread of kpktgend_N, which is the core it runs on
 * @throws RingpathError CONFIG_INVALID for what it cannot send
 */
export function pktgenWrites(options: SendOptions, thread: number): readonly PktgenWrite[] {
  const { spec, device, queue } = options
  const [size, ...others] = spec.sizes
  if (spec.mode !== 'udp') throw invalid('mode', spec.mode, 'udp: the kernel’s pktgen sends no TCP')
  if (size === undefined || others.length > 0) {
    throw invalid('size', 'a mix', 'one size: the kernel’s pktgen has no mixes')
  }
  if (spec.flows > FLOWS_MAX) {
    throw invalid('flows', spec.flows, `at most ${FLOWS_MAX} with the kernel’s pktgen`)
  }
  if (size.frameBytes < FRAME_BYTES_MIN) {
    throw invalid('size', size.frameBytes, `at least ${FRAME_BYTES_MIN} with the kernel’s pktgen`)
  }
  const name = `${device}@${thread}`
  // It never reaches a port's maximum, unless that is the minimum, too.
  const sourcePorts = Math.min(spec.flows, spec.sourcePorts.count)
  const destinationPorts = spec.destinationPorts.count
  const settings = [
    `count ${spec.frames}`,
    'clone_skb 0',
    'burst 1',
    `pkt_size ${size.frameBytes}`,
    ...rateLines(options),
    `src_mac ${spec.sourceMac}`,
    `dst_mac ${spec.destinationMac}`,
    `src_min ${formatIpv4(spec.sources.first | 0)}`,
    `src_max ${formatIpv4(last(spec.sources) | 0)}`,
    `dst_min ${formatIpv4(spec.destinations.first | 0)}`,
    `dst_max ${formatIpv4(last(spec.destinations) | 0)}`,
    `udp_src_min ${spec.sourcePorts.first}`,
    `udp_src_max ${Math.min(PORT_MAX, spec.sourcePorts.first + sourcePorts)}`,
    `udp_dst_min ${spec.destinationPorts.first}`,
    `udp_dst_max ${Math.min(PORT_MAX, spec.destinationPorts.first + destinationPorts)}`,
    `queue_map_min ${queue}`,
    `queue_map_max ${queue}`,
    ...(spec.vlan === 0 ? [] : [`vlan_id ${spec.vlan}`]),
    ...(spec.hasUdpChecksum ? ['flag UDPCSUM'] : []),
    ...(spec.hasTimestamps ? [] : ['flag NO_TIMESTAMP']),
  ]
  return [
    { file: 'pgctrl', text: 'reset' },
    { file: `kpktgend_${thread}`, text: `add_device ${name}` },
    ...settings.map((text) => ({ file: name, text })),
  ]
}

/** Whole frames per second are all it takes; 0 delay is as fast as possible. */
function rateLines({ spec }: SendOptions): readonly string[] {
  const perSecond = framesPerSecond(spec.rate, spec.sizes)
  return perSecond === 0 ? ['delay 0'] : [`ratep ${Math.max(1, Math.round(perSecond))}`]
}

export interface PktgenResult {
  readonly frames: number
  readonly bytes: number
  /** Of the run, as the kernel measured it. */
  readonly microseconds: number
  readonly errors: number
}

/**
 * Reads a device's file. While it runs there is no result yet, and only the counts so far.
 * @throws RingpathError CONFIG_INVALID with the kernel's own words when it refused something
 */
export function parsePktgenResult(text: string): PktgenResult {
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0)
  const refused = /^Result: (Error.*)$/m.exec(text)?.[1]
  if (refused !== undefined) throw invalid('pktgen', refused, 'a setting that the kernel takes')
  const frames = number(/pkts-sofar: (\d+)/)
  const size = number(/pkt_size: (\d+)/) || number(/min_pkt_size: (\d+)/)
  return {
    frames,
    bytes: frames * size,
    microseconds: number(/^Result: OK: (\d+)\(/m),
    errors: number(/errors: (\d+)/),
  }
}
