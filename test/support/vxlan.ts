/** VXLAN for tests: frames into a tunnel, and what came out of one. Shares no code with src/wire. */
import { eth } from './packet-builder.js'
import { type ParsedPacket, parseFrame } from './packet-parser.js'

export const TUNNEL_PORT = 8472

/** Eight bytes: flags, reserved, network identifier, reserved. */
export function vxlanHeader(vni: number, flags = 8): number[] {
  return [flags, 0, 0, 0, (vni >>> 16) & 255, (vni >>> 8) & 255, vni & 255, 0]
}

export interface OuterOptions {
  readonly from: string
  readonly to: string
  readonly fromMac?: string
  readonly toMac?: string
  readonly fromPort?: number
  readonly port?: number
  readonly vni: number
  readonly flags?: number
}

/** A frame as another node encapsulates it. */
export function encapsulated(inner: Uint8Array, o: OuterOptions): Uint8Array {
  return eth({
    ...(o.fromMac === undefined ? {} : { from: o.fromMac }),
    ...(o.toMac === undefined ? {} : { to: o.toMac }),
  })
    .ipv4({ from: o.from, to: o.to, flags: 'DF' })
    .udp({ from: o.fromPort ?? 50000, to: o.port ?? TUNNEL_PORT, checksum: 0 })
    .payload(Uint8Array.from([...vxlanHeader(o.vni, o.flags), ...inner]))
    .bytes()
}

export interface Opened {
  readonly outer: ParsedPacket
  readonly vni: number
  readonly inner: Uint8Array
}

/** Throws when the frame is not VXLAN. */
export function opened(frame: Uint8Array): Opened {
  const outer = parseFrame(frame)
  if (outer.udp?.to !== TUNNEL_PORT || outer.payload[0] !== 8) throw new Error('not VXLAN')
  const [, , , , high = 0, middle = 0, low = 0] = outer.payload
  const inner = outer.payload.slice(8)
  return { outer, vni: (high << 16) | (middle << 8) | low, inner }
}
