/** What the tests of fragments share: a datagram cut in three, and put together again. */
import { eth, fragmentIpv4 } from './packet-builder.js'
import { parseFrame } from './packet-parser.js'
import { NODE_MAC, type TestPod } from './test-node.js'

export const MTU = 1500

/** A datagram of 4000 bytes in three fragments. */
export const pieces = (from: TestPod, to: string, port = 53, id = 7, sport = 5000) =>
  fragmentIpv4(
    eth({ from: from.mac, to: NODE_MAC })
      .ipv4({ from: from.address, to, id })
      .udp({ from: sport, to: port })
      .payload(4000)
      .bytes(),
    MTU,
  )

/** What the fragments make together, as a frame; the packet checker then judges the checksum. */
export function reassemble(frames: readonly Uint8Array[]): Uint8Array {
  const parts = frames.map((frame) => ({
    frame,
    offset: parseFrame(frame).ipv4?.fragmentOffset ?? 0,
  }))
  parts.sort((a, b) => a.offset - b.offset)
  const head = parts[0]?.frame.slice(0, 34) ?? new Uint8Array()
  const data = parts.flatMap(({ frame }) => [...frame.subarray(34)])
  const packet = Uint8Array.from([...head, ...data])
  const view = new DataView(packet.buffer)
  view.setUint16(16, packet.length - 14)
  view.setUint16(20, 0)
  view.setUint16(24, 0)
  let sum = 0
  for (let at = 14; at < 34; at += 2) sum += view.getUint16(at)
  sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(24, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff)
  return packet
}
