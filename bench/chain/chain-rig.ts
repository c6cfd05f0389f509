/**
 * The engine's burst loop, pipeline and housekeeping on the benchmarks' node, between memory and
 * memory: every frame comes in by the sender's port and must leave by its chain's.
 */
import { performance } from 'node:perf_hooks'
import { allocateMemory } from 'xdp-socket-napi'
import { BURST_CAPACITY, BURST_RECEIVE_MAX } from '../../src/base/limits.js'
import { ConntrackGc } from '../../src/conntrack/ct-gc.js'
import { BurstLoop } from '../../src/engine/burst-loop.js'
import { IDLE_DEFAULTS, IdleStrategy } from '../../src/engine/idle-strategy.js'
import { NatGc } from '../../src/nat/nat-gc.js'
import { Burst } from '../../src/packet/burst.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import type { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import { FlowLane } from '../../src/pipeline/flow-lane.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { parseIpv4, parseMac } from '../../src/wire/address.js'
import * as ethernet from '../../src/wire/ethernet.js'
import * as ipv4 from '../../src/wire/ipv4.js'
import { EtherType, Protocol } from '../../src/wire/protocols.js'
import * as udp from '../../src/wire/udp.js'
import {
  type ChainName,
  destinationOf,
  MEMORY_DEVICES,
  RECEIVER_PORT,
  type ScenarioDevices,
  SENDER_PORT,
  scenarioMaps,
  UPLINK_PORT,
  writeScenario,
} from '../lib/node-scenario.js'
import { DESTINATION_PORT_FIRST, SOURCE_PORT_FIRST } from '../lib/two-pods.js'
import { FrameSource } from './frame-source.js'

export const FRAME_BYTES = 64
const TTL = 64
const SEED = 1
const PRIMING_PASSES = 3
/** Bursts between two looks at the clock, some ten milliseconds: each allocates a number or two, which a worker does not. */
const BURSTS_PER_TICK = 4096
/**
 * The same where time itself is what happens: less than a millisecond, for the flow lane lets only so many
 * flows of one into the chain (src/pipeline/flow-table.ts).
 */
const BURSTS_PER_TICK_SUSTAINED = 8
/** What the rig takes by itself is measured with so many at most, a second or two. */
const EMPTY_BURSTS_MAX = 2_000_000
const NANOSECONDS = 1e6
/** Entries of the connection table that a flow has: of its service, and on either pod's side. */
const ENTRIES: Readonly<Record<ChainName, number>> = {
  pod: 2,
  service: 3,
  masquerade: 1,
  overlay: 1,
  full: 2,
  outside: 2,
}
/**
 * Entries that the tables have room for, for each flow. Both halves of a NAT mapping are in one table,
 * which begins to evict before it is full.
 */
const ROOM: Readonly<Record<ChainName, number>> = { ...ENTRIES, masquerade: 3, outside: 3 }
/** The clock of the maps begins here: second 0 is in nobody's lifetime. */
const FIRST_MILLISECOND = 1_000_000

const egressOf = (chain: ChainName): number =>
  chain === 'pod' || chain === 'service' ? RECEIVER_PORT : UPLINK_PORT

export interface ChainRigOptions {
  /** Flows that the maps have room for; as many as there are unless told. */
  readonly room?: number
  /** Blank ones for that room; in memory unless given. */
  readonly maps?: DatapathMaps
  /** As PipelineOptions has it. */
  readonly repeatsFlows?: boolean
}

export class ChainRig {
  readonly maps: DatapathMaps
  readonly pipeline: Pipeline
  readonly flows: number
  readonly #chain: ChainName
  readonly #source: FrameSource
  readonly #loop: BurstLoop
  readonly #burst = new Burst(BURST_CAPACITY)
  #aheadMilliseconds = 0

  /**
   * @param flows that frames belong to, in turn
   */
  constructor(chain: ChainName, flows: number, options: ChainRigOptions = {}) {
    const { room = flows, maps = scenarioMaps(room, ROOM[chain]), repeatsFlows = true } = options
    this.flows = flows
    this.#chain = chain
    this.maps = maps
    writeScenario(this.maps, MEMORY_DEVICES, room)
    const frame = firstFrame(MEMORY_DEVICES, chain)
    this.#source = new FrameSource(frame, SENDER_PORT, egressOf(chain))
    this.aim(0, flows)
    const packet = new PacketBuffer(this.#source.umem, this.#source.stride)
    const state = this.maps.stateFor(0, SEED)
    const laneFlows = repeatsFlows ? state.conntrack.capacity : 0
    const lane = new FlowLane(packet, BURST_CAPACITY, laneFlows, allocateMemory)
    this.pipeline = new Pipeline(state, packet, BURST_CAPACITY, { lane })
    const conntrackGc = new ConntrackGc(this.maps.conntrackTable)
    const natGc = new NatGc(state.nat, this.maps.conntrackTable, conntrackGc)
    const housekeeping = [conntrackGc, natGc, this.pipeline]
    const idle = new IdleStrategy(IDLE_DEFAULTS)
    this.#loop = new BurstLoop(this.#source, this.pipeline, idle, housekeeping)
  }

  aim(firstFlow: number, flows: number): void {
    this.#source.aim(firstFlow, flows)
  }

  /** Sets the engine's clock on: what it remembers is older by so much. */
  advanceClock(seconds: number): void {
    this.#aheadMilliseconds += 1000 * seconds
  }

  #tick(milliseconds: number): void {
    this.#source.setTime(FIRST_MILLISECOND + this.#aheadMilliseconds + milliseconds)
  }

  /** Runs that many frames, rounded up to whole bursts, and returns how many it were. */
  run(frames: number): number {
    const bursts = Math.ceil(frames / BURST_RECEIVE_MAX)
    for (let done = 0; done < bursts; done += BURSTS_PER_TICK) {
      this.#tick(performance.now())
      const some = Math.min(BURSTS_PER_TICK, bursts - done)
      for (let i = 0; i < some; i++) this.#loop.turn()
    }
    return bursts * BURST_RECEIVE_MAX
  }

  /**
   * Whole passes over all flows, that many frames at least: the first makes the connections, from the
   * second on the flow lane learns. Fails when the flows are not what they should be, for then
   * something else would be measured.
   */
  prime(frames = 0): void {
    this.run(Math.max(frames, PRIMING_PASSES * this.flows))
    const entries = this.maps.conntrackTable.size
    const expected = ENTRIES[this.#chain] * this.flows
    if (entries === expected) return
    throw new Error(`${this.#chain}: ${entries} entries, not ${expected}: flows collide`)
  }

  /** What `run` costs without the engine. */
  #runEmpty(frames: number): void {
    const bursts = Math.ceil(frames / BURST_RECEIVE_MAX)
    for (let i = 0; i < bursts; i++) this.#source.refill(this.#burst)
  }

  /** Nanoseconds per frame, without what the rig takes by itself. */
  time(frames: number): number {
    const begin = performance.now()
    const done = this.run(frames)
    const middle = performance.now()
    this.#runEmpty(done)
    const empty = performance.now() - middle
    return ((middle - begin - empty) * NANOSECONDS) / done
  }

  /**
   * The same of at least so many seconds in one piece, in which the clock goes on as a worker's does: flows
   * grow old, the chain sees some of them again, and the others are renewed.
   */
  timeSustained(seconds: number): { readonly nanoseconds: number; readonly frames: number } {
    const begin = performance.now()
    let middle = begin
    let bursts = 0
    for (; middle < begin + 1000 * seconds; bursts += BURSTS_PER_TICK_SUSTAINED) {
      this.#tick(middle)
      for (let i = 0; i < BURSTS_PER_TICK_SUSTAINED; i++) this.#loop.turn()
      middle = performance.now()
    }
    const emptyBursts = Math.min(bursts, EMPTY_BURSTS_MAX)
    let end = middle
    for (let done = 0; done < emptyBursts; done += BURSTS_PER_TICK_SUSTAINED) {
      this.#tick(end)
      for (let i = 0; i < BURSTS_PER_TICK_SUSTAINED; i++) this.#source.refill(this.#burst)
      end = performance.now()
    }
    const frames = bursts * BURST_RECEIVE_MAX
    const perBurst = (middle - begin) / bursts - (end - middle) / emptyBursts
    const nanoseconds = (perBurst * NANOSECONDS) / BURST_RECEIVE_MAX
    return { nanoseconds, frames }
  }
}

/** The first flow's frame of a chain: 64 bytes of UDP, with its checksum. */
export function firstFrame(
  devices: ScenarioDevices,
  chain: ChainName,
  frameBytes = FRAME_BYTES,
): Uint8Array {
  const { sender } = devices
  const bytes = new Uint8Array(frameBytes)
  const packet = new PacketBuffer(bytes.buffer, frameBytes)
  packet.attach(0, frameBytes)
  const [to, from] = [parseMac(sender.nodeMac), parseMac(sender.mac)]
  const l3 = ethernet.ETHERNET_HEADER_BYTES
  const l4 = l3 + ipv4.IPV4_HEADER_BYTES
  const source = parseIpv4(sender.address)
  const destination = parseIpv4(destinationOf(chain, devices))
  ethernet.setDestination(packet, 0, to.high, to.low)
  ethernet.setSource(packet, 0, from.high, from.low)
  ethernet.setType(packet, 0, EtherType.IPV4)
  ipv4.writeHeader(packet, l3, frameBytes - l3, TTL, Protocol.UDP, source, destination)
  udp.writeHeader(packet, l4, SOURCE_PORT_FIRST, DESTINATION_PORT_FIRST, frameBytes - l4)
  return bytes
}
