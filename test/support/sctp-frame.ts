/** SCTP in tests: a packet of one chunk, its checksum as `sctp.fillChecksum` writes it (wire-sctp.test.ts). */
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import * as sctp from '../../src/wire/sctp.js'
import { eth } from './packet-builder.js'

export interface SctpEnds {
  readonly mac: { readonly from: string; readonly to: string }
  readonly from: string
  readonly to: string
  /** Source, destination. */
  readonly ports: readonly [number, number]
}

export function sctpFrame(ends: SctpEnds): Uint8Array {
  const [from, to] = ends.ports
  const header = [from >> 8, from & 255, to >> 8, to & 255, 1, 2, 3, 4]
  const chunk = [0, 0, 0, 0, 0, 3, 0, 17, 9, 9, 9, 9]
  const packet = eth(ends.mac)
    .ipv4({ from: ends.from, to: ends.to, protocol: 132 })
    .payload(Uint8Array.from([...header, ...chunk]))
  return withSctpChecksum(packet.bytes())
}

function withSctpChecksum(frame: Uint8Array): Uint8Array {
  const memory = new SharedArrayBuffer(2048)
  new Uint8Array(memory).set(frame)
  const p = new PacketBuffer(memory, 2048)
  p.attach(0, frame.length)
  sctp.fillChecksum(p, 34, frame.length - 34)
  return new Uint8Array(memory).slice(0, frame.length)
}
