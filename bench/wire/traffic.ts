/**
 * The traffic of the wire benchmarks and what counts it: the generator of `ringpath pktgen`, in the
 * kernel, as processes that can be put to sleep.
 */
import type { LabProcess } from '../../src/lab/lab-process.js'
import { planOf } from '../../src/pktgen/plan.js'
import { planBytes } from '../../src/pktgen/plan-bytes.js'
import { builtProgram } from '../../src/pktgen/process-sender.js'
import type { SendReport } from '../../src/pktgen/sender.js'
import { Sink } from '../../src/pktgen/sink.js'
import { parseSizes } from '../../src/pktgen/size-mix.js'
import type { TrafficSpec } from '../../src/pktgen/traffic-spec.js'
import { parseIpv4 } from '../../src/wire/address.js'
import {
  DESTINATION_PORT_FIRST,
  DESTINATION_PORTS,
  SOURCE_PORT_FIRST,
  SOURCE_PORTS,
} from '../lib/two-pods.js'
import { type End, GENERATOR_CORE, spawnOnCore, type Track } from './track.js'

/** 7 frames of 64 bytes, 4 of 570, 1 of 1514, and again. */
const MIX = '64:7,570:4,1514:1'
const DEVICE = 'eth0'

export type FrameSize = number | 'imix'

export interface Traffic {
  readonly frameBytes: FrameSize
  readonly flows: number
  /** Frames per second; 0 as fast as the generator can. Paced frames carry the time. */
  readonly rate: number
  readonly seconds: number
}

/** Where frames are sent to. */
export interface Target {
  readonly address: string
  readonly mac: string
}

export interface Reading {
  readonly nanoseconds: number
  readonly frames: number
  readonly bytes: number
}

/** UDP without a checksum, which RFC 768 allows: new ports then need no other change. */
function specOf({ sender }: Track, target: Target, traffic: Traffic): TrafficSpec {
  const { frameBytes, flows, rate, seconds } = traffic
  return {
    mode: 'udp',
    sourceMac: sender.podMac,
    destinationMac: target.mac,
    vlan: 0,
    sources: { first: parseIpv4(sender.address) >>> 0, count: 1 },
    destinations: { first: parseIpv4(target.address) >>> 0, count: 1 },
    sourcePorts: { first: SOURCE_PORT_FIRST, count: SOURCE_PORTS },
    destinationPorts: { first: DESTINATION_PORT_FIRST, count: DESTINATION_PORTS },
    flows,
    sizes: parseSizes(frameBytes === 'imix' ? MIX : String(frameBytes)),
    rate: { unit: 'frames', perSecond: rate },
    frames: 0,
    seconds,
    hasTimestamps: rate > 0,
    hasUdpChecksum: false,
    framesPerConnection: 0,
  }
}

/** A run of the generator in the sender's pod. */
export class TrafficRun {
  readonly process: LabProcess

  constructor(track: Track, target: Target, traffic: Traffic) {
    const { sender, lab } = track
    const bytes = planBytes(planOf(specOf(track, target, traffic)))
    const program = builtProgram('generate')
    this.process = spawnOnCore(lab, sender, GENERATOR_CORE, program, [DEVICE])
    this.process.write(`${Buffer.from(bytes).toString('hex')}\n`)
  }

  /** Waits for its end and tells what it sent. */
  async sent(): Promise<SendReport> {
    await this.process.ended
    const [line] = this.process.output.match(/\{.*\}/) ?? []
    if (line === undefined) throw new Error(`the generator failed: ${this.process.output}`)
    return JSON.parse(line) as SendReport
  }
}

/**
 * Counts the frames where they arrive, in an envelope of VXLAN too, and drops them at the tc hook: the
 * cheapest end for a frame that AF_XDP sent as an skb. It looks at no number: order costs time.
 */
export const startSink = ({ ns, device }: End): Promise<Sink> =>
  Sink.start({ device, hook: 'tc', flows: 1, namespace: ns.netns, checks: 'latency' })

/** Asks a program that answers each question with a line `{"reading":N,...}`. */
export class Readings<T> {
  readonly #process: LabProcess
  readonly #ask: (process: LabProcess) => void
  #count = 0

  constructor(process: LabProcess, ask: (process: LabProcess) => void) {
    this.#process = process
    this.#ask = ask
  }

  async next(ask = this.#ask): Promise<T> {
    this.#count++
    ask(this.#process)
    const [line] = await this.#process.waitForOutput(
      new RegExp(`\\{"reading":${this.#count},.*\\}`),
    )
    return JSON.parse(line) as T
  }
}
