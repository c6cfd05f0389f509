/**
 * A capture run through a node's state: which frames would pass, by which way, and why not. It runs
 * on copies of the maps, with the capture's own clock; it needs no root and sends nothing.
 */
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { LINK_TYPE_ETHERNET, NANOSECONDS_PER_SECOND } from '../port/pcap/capture.js'
import { readCapture } from '../port/pcap/open-capture.js'
import type { EndpointRowView } from './endpoint-view.js'
import { Explainer, type Explanation } from './explain.js'
import type { NameBook } from './names.js'

export interface ReplayOptions {
  /** Port of every frame; else that of the endpoint whose MAC sent it, or the first uplink's. */
  readonly port?: number
  /** Only this frame, from 1. */
  readonly frame?: number
  /** Second of the clock at the first frame: when connections that are there expire. */
  readonly nowSeconds: number
}

export interface ReplayedFrame {
  /** From 1, as Wireshark counts. */
  readonly number: number
  /** Seconds since the first frame. */
  readonly seconds: number
  readonly explanation: Explanation
}

/** Longer frames do not fit the datapath's either. */
const FRAME_BYTES_MAX = 3_000
const NANOSECONDS = 1_000_000_000

/**
 * @param capture the whole file
 * @param maps copies, which change as the node's own would
 */
export function* replay(
  capture: Uint8Array,
  maps: DatapathMaps,
  names: NameBook,
  endpoints: readonly EndpointRowView[],
  options: ReplayOptions,
): Generator<ReplayedFrame> {
  const reader = readCapture(capture)
  const explainer = new Explainer(maps, names)
  let first: bigint | null = null
  let number = 0
  for (let frame = reader.next(); frame !== null; frame = reader.next()) {
    number++
    const linkType = reader.interfaces[frame.interfaceIndex]?.linkType
    if (linkType !== LINK_TYPE_ETHERNET || frame.bytes.length > FRAME_BYTES_MAX) continue
    const time = frame.timeNanoseconds
    first ??= time
    const since = time === null || first === null ? 0n : time - first
    const bytes = frame.bytes.slice(0, frame.bytes.length - frame.checkSequenceBytes)
    const port = options.port ?? portOf(bytes, endpoints)
    const seconds = options.nowSeconds + Number(since / NANOSECONDS_PER_SECOND)
    const nanoseconds = Number(since % NANOSECONDS_PER_SECOND)
    const explanation = explainer.run(bytes, port, seconds, nanoseconds)
    if (options.frame !== undefined && options.frame !== number) continue
    yield { number, seconds: Number(since) / NANOSECONDS, explanation }
  }
}

/** By the MAC that sent it; what nobody here sent came from outside. */
export function portOf(frame: Uint8Array, endpoints: readonly EndpointRowView[]): number {
  const mac = Buffer.from(frame.subarray(6, 12))
    .toString('hex')
    .replace(/..(?=.)/g, '$&:')
  const sender = endpoints.find((row) => row.kind !== 'uplink' && row.mac === mac)
  const outside = endpoints.find(({ kind }) => kind === 'uplink')
  return (sender ?? outside)?.port ?? 0
}
