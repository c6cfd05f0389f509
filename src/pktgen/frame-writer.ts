/**
 * Writes the frames of a plan, one after the other, into any packet memory: headers, addresses and
 * ports of the flow, checksums, number and time. The same frames as generator/generate.bpf.c sends;
 * a test compares them.
 *
 * What lies behind the tag is left as it is, and must be zeros: the checksums count on it.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from '../wire/checksum.js'
import { ConnectionTemplate, type FrameTemplate, TEMPLATE_BYTES, type TrafficPlan } from './plan.js'
import * as tag from './tag.js'
import type { ValueRange } from './traffic-spec.js'

const IPV4_CHECKSUM = 10
const IPV4_SOURCE = 12
const IPV4_DESTINATION = 16
const TCP_SEQUENCE = 4
const TCP_CHECKSUM = 16
const UDP_CHECKSUM = 6

/** One of the numbers that a flow is made of: runs through its range, then begins anew. */
class Wheel {
  readonly #range: ValueRange
  #index = 0

  constructor(range: ValueRange) {
    this.#range = range
  }

  /** An int32, for addresses. */
  get value(): number {
    return (this.#range.first + this.#index) | 0
  }

  /** False when it begins anew, and the next wheel has to move. */
  turn(): boolean {
    this.#index = this.#index + 1 < this.#range.count ? this.#index + 1 : 0
    return this.#index !== 0
  }

  reset(): void {
    this.#index = 0
  }
}

export class FrameWriter {
  readonly #plan: TrafficPlan
  readonly #sourcePort: Wheel
  readonly #destinationPort: Wheel
  readonly #source: Wheel
  readonly #destination: Wheel
  #frames = 0
  #flow = 0
  #step = 0
  #roundBegin = 0
  #position = 0

  constructor(plan: TrafficPlan) {
    this.#plan = plan
    this.#sourcePort = new Wheel(plan.spec.sourcePorts)
    this.#destinationPort = new Wheel(plan.spec.destinationPorts)
    this.#source = new Wheel(plan.spec.sources)
    this.#destination = new Wheel(plan.spec.destinations)
  }

  /** Frames written so far: the number of the next. */
  get frames(): number {
    return this.#frames
  }

  /** Of the frame that comes next. */
  get next(): FrameTemplate {
    const { templates, schedule } = this.#plan
    return templates[this.#kind(schedule)] as FrameTemplate
  }

  /**
   * Writes the next frame where the packet is attached, and sets the packet's length. The time is
   * that of sending in nanoseconds, in two words.
   */
  write(packet: PacketBuffer, timeHigh: number, timeLow: number): void {
    const { l3Offset, l4Offset } = this.#plan
    const template = this.next
    packet.setLength(template.frameBytes)
    for (let at = 0; at < TEMPLATE_BYTES; at++) packet.setU8(at, template.header[at] as number)
    const source = this.#source.value
    const destination = this.#destination.value
    const addresses = checksums.word(source) + checksums.word(destination)
    packet.setI32(l3Offset + IPV4_SOURCE, source)
    packet.setI32(l3Offset + IPV4_DESTINATION, destination)
    const headerCheck = checksums.complement(template.ipv4Sum + addresses)
    packet.setU16(l3Offset + IPV4_CHECKSUM, headerCheck)
    const ports = (this.#sourcePort.value << 16) | (this.#destinationPort.value & 0xffff)
    packet.setI32(l4Offset, ports)
    const sum = template.l4Sum + addresses + checksums.word(ports)
    if (this.#plan.spec.mode === 'udp') this.#writeUdp(packet, sum, timeHigh, timeLow)
    else this.#writeTcp(packet, sum, timeHigh, timeLow)
    this.#advance()
  }

  #kind(schedule: Uint8Array): number {
    const { mode } = this.#plan.spec
    if (mode === 'udp') return schedule[this.#position] as number
    if (mode === 'syn' || this.#step === 0) return ConnectionTemplate.SYN
    const isLast = this.#step + 1 === this.#plan.steps
    return isLast ? ConnectionTemplate.FIN : ConnectionTemplate.DATA
  }

  #writeUdp(packet: PacketBuffer, sum: number, timeHigh: number, timeLow: number): void {
    const { l4Offset, spec } = this.#plan
    const whole = sum + this.#writeTag(packet, timeHigh, timeLow)
    if (!spec.hasUdpChecksum) return
    // RFC 768: a computed zero is sent as all ones, because zero means "no checksum".
    packet.setU16(l4Offset + UDP_CHECKSUM, checksums.complement(whole) || 0xffff)
  }

  #writeTcp(packet: PacketBuffer, sum: number, timeHigh: number, timeLow: number): void {
    const { l4Offset, payloadBytes } = this.#plan
    const isSyn = this.#step === 0
    const initial = this.#roundBegin + this.#flow
    const sequence = isSyn ? this.#frames | 0 : (initial + 1 + (this.#step - 1) * payloadBytes) | 0
    packet.setI32(l4Offset + TCP_SEQUENCE, sequence)
    let whole = sum + checksums.word(sequence)
    if (!isSyn) whole += this.#writeTag(packet, timeHigh, timeLow)
    packet.setU16(l4Offset + TCP_CHECKSUM, checksums.complement(whole))
  }

  /** The sum of what it wrote, but for the magic, which the template's sum has. */
  #writeTag(packet: PacketBuffer, timeHigh: number, timeLow: number): number {
    const sequence = this.#frames | 0
    tag.write(packet, this.#plan.tagOffset, sequence, timeHigh, timeLow)
    return checksums.word(sequence) + checksums.word(timeHigh) + checksums.word(timeLow)
  }

  #advance(): void {
    const { spec, schedule, steps } = this.#plan
    this.#frames++
    this.#position = this.#position + 1 < schedule.length ? this.#position + 1 : 0
    this.#flow++
    if (this.#flow < spec.flows) {
      if (this.#sourcePort.turn() || this.#destinationPort.turn() || this.#source.turn()) return
      this.#destination.turn()
      return
    }
    this.#flow = 0
    this.#sourcePort.reset()
    this.#destinationPort.reset()
    this.#source.reset()
    this.#destination.reset()
    this.#step = this.#step + 1 < steps ? this.#step + 1 : 0
    if (this.#step === 0) this.#roundBegin = this.#frames
  }
}
