/**
 * The least that a forwarder does, as the yardstick does it: every frame leaves by the other port
 * with new MAC addresses.
 */
import type { BurstHandler } from '../../src/engine/burst-loop.js'
import type { Burst } from '../../src/packet/burst.js'
import type { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { parseMac } from '../../src/wire/address.js'
import * as ethernet from '../../src/wire/ethernet.js'
import type { BenchPod } from '../lib/two-pods.js'

/** Per port: destination high and low, source high and low. */
const MAC_WORDS = 4

export class MacRewriter implements BurstHandler {
  readonly #packet: PacketBuffer
  readonly #macs: Int32Array

  constructor(packet: PacketBuffer, ports: readonly [BenchPod, BenchPod]) {
    this.#packet = packet
    const words = ports.flatMap((port) => {
      const destination = parseMac(port.mac)
      const source = parseMac(port.nodeMac)
      return [destination.high, destination.low, source.high, source.low]
    })
    this.#macs = Int32Array.from(words)
  }

  run(burst: Burst): void {
    const packet = this.#packet
    const macs = this.#macs
    for (let i = 0; i < burst.count; i++) {
      const port = (burst.ports[i] as number) ^ 1
      const at = port * MAC_WORDS
      packet.attach(burst.starts[i] as number, burst.lengths[i] as number)
      ethernet.setDestination(packet, 0, macs[at] as number, macs[at + 1] as number)
      ethernet.setSource(packet, 0, macs[at + 2] as number, macs[at + 3] as number)
      burst.ports[i] = port
    }
  }
}
