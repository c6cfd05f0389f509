/** What the harness, a forwarder's main thread and its worker tell each other. */

/** A device of the node and the two MAC addresses that a frame leaving by it carries. */
export interface ForwarderPort {
  readonly device: string
  readonly address: string
  /** Of the pod at the other end. */
  readonly destinationMac: string
  /** Of `device`. */
  readonly sourceMac: string
}

export interface ForwarderInput {
  /** `l2` rewrites MAC addresses only; `chain` is the engine's pipeline. */
  readonly kind: 'l2' | 'chain'
  readonly ports: readonly ForwarderPort[]
  /** Largest number of connections that the traffic makes. */
  readonly flows: number
}

export interface WorkerInput extends ForwarderInput {
  /** Words of `ForwarderControl`. */
  readonly control: SharedArrayBuffer
}

export const ForwarderControl = {
  /** Not zero: stop after the present burst. */
  STOP: 0,
  /** Not zero: the measured window is open. */
  MEASURE: 1,
} as const

/**
 * Printed by the forwarder at its end, as one line of JSON: what happened within the measured
 * window.
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
