/**
 * The traffic of the wire benchmarks and what counts it: the only module that knows the generator's
 * programs (bench/generator).
 */
import type { Lab } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import { programPath } from '../lib/native-programs.js'
import { type End, GENERATOR_CORE, spawnOnCore, type Track } from './track.js'

/** `imix`: 7 frames of 64 bytes, 4 of 570, 1 of 1514, and again. */
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

export interface Sent {
  readonly frames: number
  readonly seconds: number
}

export interface Reading {
  readonly nanoseconds: number
  readonly frames: number
  readonly bytes: number
}

/** A run of the generator in the sender's pod. */
export class TrafficRun {
  readonly process: LabProcess

  constructor(track: Track, target: Target, traffic: Traffic) {
    const { sender, lab } = track
    const frame = ['eth0', sender.podMac, target.mac, sender.address, target.address]
    const { frameBytes, flows, rate, seconds } = traffic
    const args = [...frame, ...[frameBytes, flows, rate, seconds].map(String)]
    this.process = spawnOnCore(lab, sender, GENERATOR_CORE, programPath('generate'), args)
  }

  /** Waits for its end and tells what it sent. */
  async sent(): Promise<Sent> {
    await this.process.ended
    const [line] = this.process.output.match(/\{.*\}/) ?? []
    if (line === undefined) throw new Error(`the generator failed: ${this.process.output}`)
    return JSON.parse(line) as Sent
  }
}

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

/** Pairs of a bucket's number (bench/generator/frame.h) and its frames. */
export type Histogram = readonly (readonly [bucket: number, frames: number])[]

/** Counts the generator's frames where they arrive, and drops them. */
export class Sink {
  readonly #process: LabProcess
  readonly #readings: Readings<Reading & { readonly latencies?: Histogram }>

  private constructor(process: LabProcess) {
    this.#process = process
    this.#readings = new Readings(process, (child) => child.write('frames\n'))
  }

  static async start(lab: Lab, end: End): Promise<Sink> {
    const process = lab.spawn(end.ns, programPath('count'), [end.device, 'tc'])
    await process.waitForOutput(/ready/)
    return new Sink(process)
  }

  read(): Promise<Reading> {
    return this.#readings.next()
  }

  /** How long paced frames took so far. */
  async latencies(): Promise<Histogram> {
    const reading = await this.#readings.next((child) => child.write('latencies\n'))
    return reading.latencies ?? []
  }

  async stop(): Promise<void> {
    this.#process.closeInput()
    await this.#process.ended
  }
}
