/**
 * Tells the network of each address that this node begins to answer ARP for, so that clients which
 * knew another node by it come here at once (gratuitous ARP, RFC 5227 section 2.3).
 *
 * Three times, a second apart, because nobody confirms it. Told anew when the control plane is back
 * after a silence, in which another node may have taken over.
 */
import { Endpoint } from '../endpoint/endpoint-table.js'
import { Revisions } from '../maps/revision.js'
import { ANNOUNCEMENT_KEY_WORDS } from '../netdev/netdev-maps.js'
import { PacketBuffer } from '../packet/packet-buffer.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { PortStatus } from '../port/port-table.js'
import * as arp from '../wire/arp.js'
import * as ethernet from '../wire/ethernet.js'
import { EtherType } from '../wire/protocols.js'

/** Sends a frame by a device. */
export type SendFrame = (device: string, frame: Uint8Array) => void

const TIMES = 3
/** Shortest frame of Ethernet, without its check sequence. */
const FRAME_BYTES = 60

interface Announced {
  readonly address4: number
  readonly port: number
  timesLeft: number
}

export class Announcer {
  readonly #maps: DatapathMaps
  readonly #owner: number
  readonly #send: SendFrame
  readonly #revisions: Revisions
  readonly #frame = new Uint8Array(FRAME_BYTES)
  readonly #packet = new PacketBuffer(this.#frame.buffer, FRAME_BYTES)
  readonly #announced = new Map<string, Announced>()
  #seen: number | undefined

  /** @param owner process id of the datapath, whose ports count */
  constructor(maps: DatapathMaps, owner: number, send: SendFrame) {
    this.#maps = maps
    this.#owner = owner
    this.#send = send
    this.#revisions = new Revisions([maps.netdev.announced])
    this.#packet.attach(0, FRAME_BYTES)
  }

  /** Once a second. What cannot be sent is thrown, and sent with the next step. */
  step(nowSeconds: number): void {
    if (!this.#maps.node.isAgentAlive(nowSeconds)) {
      this.#announced.clear()
      this.#seen = undefined
      return
    }
    const revision = this.#revisions.sum
    if (revision !== this.#seen) this.#compare()
    this.#seen = revision
    for (const one of this.#announced.values()) {
      if (one.timesLeft > 0 && this.#isAttached(one.port)) this.#announce(one)
    }
  }

  #compare(): void {
    const map = this.#maps.netdev.announced
    const key = new Int32Array(ANNOUNCEMENT_KEY_WORDS)
    const value = new Int32Array(map.spec.valueWords)
    const wanted = new Set<string>()
    for (const slot of map.slots()) {
      if (!map.read(slot, key, value)) continue
      const [address4 = 0, port = 0] = key
      const name = `${address4} ${port}`
      wanted.add(name)
      if (!this.#announced.has(name)) {
        this.#announced.set(name, { address4, port, timesLeft: TIMES })
      }
    }
    for (const name of this.#announced.keys()) if (!wanted.has(name)) this.#announced.delete(name)
  }

  #isAttached(port: number): boolean {
    return this.#maps.ports.report(port, this.#owner).status === PortStatus.ATTACHED
  }

  #announce(one: Announced): void {
    const { endpoints, ports } = this.#maps
    const row = endpoints.rowStart(one.port)
    const macHigh = endpoints.words[row + Endpoint.NODE_MAC] as number
    const macLow = endpoints.words[row + Endpoint.NODE_MAC + 1] as number
    const packet = this.#packet
    ethernet.setDestination(packet, 0, -1, 0xffff)
    ethernet.setSource(packet, 0, macHigh, macLow)
    ethernet.setType(packet, 0, EtherType.ARP)
    const at = ethernet.ETHERNET_HEADER_BYTES
    arp.writeAnnouncement(packet, at, macHigh, macLow, one.address4)
    this.#send(ports.device(one.port), this.#frame)
    one.timesLeft--
  }
}
