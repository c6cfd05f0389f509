/**
 * Where the demonstration takes place: real pods on AF_XDP (live-world.ts) or the same pods in this
 * process (simulation/). View and summary know only this.
 */
import type { Clock } from '../base/clock.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import type { Program } from './program.js'

export interface World {
  readonly isSimulated: boolean
  readonly maps: DatapathMaps
  /** The one that the datapath stamps its entries with. */
  readonly clock: Clock
  /** Names of pods and node by port index. */
  readonly portNames: ReadonlyMap<number, string>
  readonly programs: readonly Program[]
  /** What runs the pipeline, in a few words: process, XDP mode, copy mode. */
  readonly facts: string
  /** Commands to play with, for a world that stays. */
  readonly commands: readonly string[]
  /** What broke the datapath, undefined while all is well. */
  readonly problem: string | undefined
  /**
   * Runs the programs until the signal; resolves when each has ended. What was still under way at
   * the signal is not recorded.
   */
  run(signal: AbortSignal, showSeconds: number): Promise<void>
  /** Ends the datapath and removes everything; a second call does nothing new. */
  stop(): Promise<WorldEnd>
}

export interface WorldEnd {
  /** Frames that went through the pipeline; 0 when the datapath could not tell any more. */
  readonly frames: number
  /** The datapath checked that each frame of its memory was free again. */
  readonly isEveryFrameAccounted: boolean
  /** What could not be removed: namespaces, files. */
  readonly leftBehind: readonly string[]
}
