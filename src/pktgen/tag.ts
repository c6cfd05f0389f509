/**
 * What a frame of ours carries in its payload: a number and the time of sending. The first 16 bytes
 * behind UDP or TCP, big-endian: magic, sequence, nanoseconds of CLOCK_MONOTONIC (0 for none).
 * generator/plan.h has the same for the programs in the kernel; a SYN has no payload, and is known
 * by its window.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as ethernet from '../wire/ethernet.js'
import * as ipv4 from '../wire/ipv4.js'
import { EtherType, Protocol } from '../wire/protocols.js'
import * as tcp from '../wire/tcp.js'
import { UDP_HEADER_BYTES } from '../wire/udp.js'
import { VLAN_TAG_BYTES } from '../wire/vlan.js'

export const TAG_BYTES = 16
/** "ring" */
export const TAG_MAGIC = 0x72696e67
/** "rg" */
export const TAG_WINDOW = 0x7267
/** Of the kernel's pktgen, as an int32; then number, seconds, microseconds of the day. */
export const PKTGEN_MAGIC = 0xbe9be955 | 0

const MAGIC = 0
const SEQUENCE = 4
const TIME_HIGH = 8
const TIME_LOW = 12

const TWO_TO_32 = 0x1_0000_0000

export function write(
  packet: PacketBuffer,
  at: number,
  sequence: number,
  timeHigh: number,
  timeLow: number,
): void {
  packet.setI32(at + MAGIC, TAG_MAGIC)
  packet.setI32(at + SEQUENCE, sequence)
  packet.setI32(at + TIME_HIGH, timeHigh)
  packet.setI32(at + TIME_LOW, timeLow)
}

/** What was read of the last frame; one instance, written over by the next. */
export class TagReader {
  /** An int32. */
  sequence = 0
  /** CLOCK_MONOTONIC of sending; 0 when the frame does not tell. */
  sentNanoseconds = 0
  readonly #realTimeOffset: number

  /** @param realTimeOffset CLOCK_REALTIME less CLOCK_MONOTONIC, in nanoseconds */
  constructor(realTimeOffset: number) {
    this.#realTimeOffset = realTimeOffset
  }

  /** Whether the frame is a generator's. One VLAN tag is looked through. */
  read(p: PacketBuffer): boolean {
    this.sentNanoseconds = 0
    if (!p.has(ethernet.ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES)) return false
    const isTagged = ethernet.type(p, 0) === EtherType.VLAN
    const l3 = ethernet.ETHERNET_HEADER_BYTES + (isTagged ? VLAN_TAG_BYTES : 0)
    if (p.u16(l3 - 2) !== EtherType.IPV4 || !ipv4.isValid(p, l3)) return false
    const l4 = ipv4.payloadOffset(p, l3)
    if (ipv4.protocol(p, l3) === Protocol.UDP) return this.#readTag(p, l4 + UDP_HEADER_BYTES)
    if (ipv4.protocol(p, l3) !== Protocol.TCP || !tcp.isValid(p, l4)) return false
    if (tcp.window(p, l4) !== TAG_WINDOW) return false
    if (!tcp.isOpening(p, l4)) return this.#readTag(p, l4 + tcp.TCP_HEADER_BYTES)
    this.sequence = tcp.sequence(p, l4)
    return true
  }

  #readTag(p: PacketBuffer, at: number): boolean {
    if (!p.has(at + TAG_BYTES)) return false
    const magic = p.i32(at + MAGIC)
    this.sequence = p.i32(at + SEQUENCE)
    const high = p.i32(at + TIME_HIGH) >>> 0
    const low = p.i32(at + TIME_LOW) >>> 0
    if (magic === TAG_MAGIC) {
      this.sentNanoseconds = high * TWO_TO_32 + low
      return true
    }
    if (magic !== PKTGEN_MAGIC) return false
    // Its numbers begin with 1.
    this.sequence = (this.sequence - 1) | 0
    if (high !== 0) this.sentNanoseconds = high * 1e9 + low * 1e3 - this.#realTimeOffset
    return true
  }
}
