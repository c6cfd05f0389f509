/** What the harness, a forwarder's main thread and its worker tell each other. */
import type { IdleOptions } from '../../src/engine/idle-strategy.js'
import type { ScenarioDevices } from '../lib/node-scenario.js'

export interface ForwarderInput {
  /**
   * `drop` lets every frame go, `l2` rewrites MAC addresses only; `chain` is the engine's pipeline.
   */
  readonly kind: 'drop' | 'l2' | 'chain'
  readonly devices: ScenarioDevices
  /** Largest number of connections that the traffic makes. */
  readonly flows: number
  readonly idle: IdleOptions['mode']
  /** Of the worker; the process's other threads run elsewhere. */
  readonly core: number
}

export interface WorkerInput extends ForwarderInput {
  /** Words of `ForwarderControl`. */
  readonly control: SharedArrayBuffer
}

export const ForwarderControl = {
  /** Not zero: stop after the present burst. */
  STOP: 0,
  /** One of `Measuring`: from when on what is reported counts. */
  MEASURING: 1,
  /** Frames handled, modulo 2^32, at the burst with this time; and how often that has been told. */
  FRAMES: 2,
  SECONDS: 3,
  NANOSECONDS: 4,
  TOLD: 5,
} as const

export const Measuring = { NOT_YET: 0, WANTED: 1, BEGUN: 2 } as const

/**
 * Printed by the forwarder at its end, as one line of JSON: what happened since the first measured
 * window began.
 */
export interface ForwarderReport {
  readonly frames: number
  /** Collections of the worker's heap. */
  readonly collections: number
  /** Growth of the worker's heap. */
  readonly heapBytes: number
  /** Frames that found a transmit ring full. */
  readonly sendDropped: number
}
