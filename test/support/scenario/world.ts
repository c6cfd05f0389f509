/** What a scenario runs on: a node in memory, or one on real devices. */
import type { NodeController } from '../../../src/daemon/node-controller.js'
import type { MetricLine } from '../../../src/monitor/metrics.js'
import type { DatapathMaps } from '../../../src/pipeline/datapath-maps.js'
import type { Names } from './names.js'
import type { NodeSpec } from './types.js'

export interface SentFrame {
  readonly port: string
  readonly bytes: Uint8Array
}

export interface World {
  readonly maps: DatapathMaps
  readonly controller: NodeController
  readonly names: Names
  /** Time does not stand still: lifetimes are not compared. */
  readonly isLive: boolean
  readonly nowSeconds: number
  /** What had been counted when the scenario began. */
  readonly countersBefore: readonly MetricLine[]
  /** The control plane makes the node so, or changes it; what is not named stays. */
  configure(spec: NodeSpec): Promise<void>
  /** Lets a frame in and answers with all that came out until the datapath was at rest. */
  exchange(port: string, frame: Uint8Array): Promise<SentFrame[]>
  /** Time passes, and what has expired is collected. */
  advance(seconds: number): Promise<void>
  /** All events since the last call. */
  events(): Int32Array[]
}
