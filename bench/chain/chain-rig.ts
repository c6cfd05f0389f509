/**
 * The engine's pipeline between two pods without any port: frames stand ready in memory, each burst
 * is made to look as if it had just come in, and every frame must leave by the other pod's port.
 *
 * What it costs besides the pipeline (two words written into each frame, three into the burst) is
 * measured by `runEmpty`.
 */
import { BURST_CAPACITY, BURST_RECEIVE_MAX } from '../../src/base/limits.js'
import { Burst } from '../../src/packet/burst.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { DatapathMaps, MAP_SIZES } from '../../src/pipeline/datapath-maps.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import * as ethernet from '../../src/wire/ethernet.js'
import * as ipv4 from '../../src/wire/ipv4.js'
import * as udp from '../../src/wire/udp.js'
import {
  addTwoPods,
  type BenchPod,
  DESTINATION_PORT_FIRST,
  SOURCE_PORT_FIRST,
  SOURCE_PORTS,
} from '../lib/two-pods.js'

const SENDER: BenchPod = {
  device: 'lxc-sender',
  address: '10.0.0.1',
  mac: '02:00:00:00:00:1a',
  nodeMac: '02:00:00:00:00:0a',
}
const RECEIVER: BenchPod = {
  device: 'lxc-receiver',
  address: '10.0.0.2',
  mac: '02:00:00:00:00:1b',
  nodeMac: '02:00:00:00:00:0b',
}
const SENDER_ADDRESS = 0x0a000001
const RECEIVER_ADDRESS = 0x0a000002
const SENDER_PORT = 0
const RECEIVER_PORT = 1

/** Frames in use, as many as a poller that takes the last freed first keeps hot. */
const FRAMES = 256
const STRIDE_BYTES = 2112
const HEADROOM_BYTES = 256
const FRAME_BYTES = 64
const TTL = 64
const UDP_PROTOCOL = 17
const TTL_OFFSET = 8
const L3 = ethernet.ETHERNET_HEADER_BYTES
const L4 = L3 + ipv4.IPV4_HEADER_BYTES

/** The clock moves by a second each 2^14 bursts: about what a million frames take. */
const BURSTS_PER_SECOND_BITS = 14
const FIRST_SECOND = 1000
/** Two entries for each flow, in a table that is a power of two and at most half full. */
const ENTRIES_PER_FLOW = 2
const CONNECTIONS_MIN = 4096
/** An odd multiplier, modulo the number of flows: neighbouring frames belong to distant flows. */
const FLOW_STEP = 7919
const SOURCE_PORT_BITS = Math.log2(SOURCE_PORTS)

export class ChainRig {
  readonly flows: number
  readonly #step: number
  readonly #pipeline: Pipeline
  readonly #packet: PacketBuffer
  readonly #burst = new Burst(BURST_CAPACITY)
  /** Words of an IP header before the chain changes them: time to live, protocol, checksum. */
  readonly #freshWord: number
  #flow = 0
  #frame = 0
  #bursts = 0

  constructor(flows: number) {
    this.flows = flows
    this.#step = FLOW_STEP % flows
    const connections = Math.max(
      CONNECTIONS_MIN,
      2 ** Math.ceil(Math.log2(flows * ENTRIES_PER_FLOW)),
    )
    const maps = DatapathMaps.inMemory({ ...MAP_SIZES, connections })
    addTwoPods(maps, SENDER, RECEIVER)
    const umem = new SharedArrayBuffer(FRAMES * STRIDE_BYTES)
    const packet = new PacketBuffer(umem, STRIDE_BYTES)
    for (let frame = 0; frame < FRAMES; frame++) writeFrame(packet, frame)
    this.#freshWord = packet.i32(L3 + TTL_OFFSET)
    this.#packet = new PacketBuffer(umem, STRIDE_BYTES)
    this.#pipeline = new Pipeline(maps.stateFor(0), packet, BURST_CAPACITY)
  }

  /** Runs that many frames, rounded up to whole bursts, and returns how many it were. */
  run(frames: number): number {
    const bursts = Math.ceil(frames / BURST_RECEIVE_MAX)
    for (let i = 0; i < bursts; i++) {
      this.#receive()
      this.#pipeline.run(this.#burst)
      this.#checkForwarded()
    }
    return bursts * BURST_RECEIVE_MAX
  }

  /** What `run` costs without the pipeline. */
  runEmpty(frames: number): number {
    const bursts = Math.ceil(frames / BURST_RECEIVE_MAX)
    const now = this.#bursts
    for (let i = 0; i < bursts; i++) this.#receive()
    this.#bursts = now
    return bursts * BURST_RECEIVE_MAX
  }

  #receive(): void {
    const burst = this.#burst
    const packet = this.#packet
    for (let i = 0; i < BURST_RECEIVE_MAX; i++) {
      const start = this.#frame * STRIDE_BYTES + HEADROOM_BYTES
      packet.attach(start, FRAME_BYTES)
      packet.setI32(L3 + TTL_OFFSET, this.#freshWord)
      const sourcePort = SOURCE_PORT_FIRST + (this.#flow & (SOURCE_PORTS - 1))
      const destinationPort = DESTINATION_PORT_FIRST + (this.#flow >>> SOURCE_PORT_BITS)
      packet.setI32(L4, (sourcePort << 16) | destinationPort)
      burst.starts[i] = start
      burst.lengths[i] = FRAME_BYTES
      burst.ports[i] = SENDER_PORT
      this.#frame = (this.#frame + 1) & (FRAMES - 1)
      const flow = this.#flow + this.#step
      this.#flow = flow < this.flows ? flow : flow - this.flows
    }
    burst.count = BURST_RECEIVE_MAX
    burst.setTime(FIRST_SECOND + (this.#bursts >>> BURSTS_PER_SECOND_BITS), 0)
    this.#bursts++
  }

  #checkForwarded(): void {
    const ports = this.#burst.ports
    for (let i = 0; i < BURST_RECEIVE_MAX; i++) {
      if (ports[i] !== RECEIVER_PORT) throw new Error(`frame ${i} left by port ${ports[i]}`)
    }
  }
}

function writeFrame(packet: PacketBuffer, frame: number): void {
  packet.attach(frame * STRIDE_BYTES + HEADROOM_BYTES, FRAME_BYTES)
  ethernet.setDestination(packet, 0, 0x02000000, 0x000a)
  ethernet.setSource(packet, 0, 0x02000000, 0x001a)
  ethernet.setType(packet, 0, 0x0800)
  ipv4.writeHeader(
    packet,
    L3,
    FRAME_BYTES - L3,
    TTL,
    UDP_PROTOCOL,
    SENDER_ADDRESS,
    RECEIVER_ADDRESS,
  )
  udp.writeHeader(packet, L4, SOURCE_PORT_FIRST, DESTINATION_PORT_FIRST, FRAME_BYTES - L4)
}
