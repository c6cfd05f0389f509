/**
 * What can carry frames from the first pod of a track: our datapath, the yardstick in C, or a peer.
 * Each is started on a track of its own and sleeps while others are measured, so that one that takes
 * long to become fast does so once.
 */
import type { LabProcess } from '../../src/lab/lab-process.js'
import type { Track, TrackOptions } from './track.js'
import type { Reading, Target } from './traffic.js'

export interface Contender {
  readonly name: string
  /** What it is and does, in a few words; part of a result's note. */
  readonly description: string
  readonly track?: TrackOptions
  /** Milliseconds of full load until it is as fast as it gets. */
  readonly warmUpMilliseconds: number
  /** Why it cannot run on this machine, in one sentence; undefined when it can. */
  problem(): Promise<string | undefined>
  /** Resolves when frames flow. */
  start(track: Track): Promise<Running>
}

export interface Running {
  /** Where the sender's frames go to. */
  readonly target: Target
  /** Where they arrive: the receiver's pod, the uplink's other end, or nowhere. */
  readonly sink: 'receiver' | 'uplink' | 'none'
  /** The process whose share of its core tells whether a figure counts. */
  readonly process?: LabProcess
  /** Frames handled, of one that has no sink. */
  read?(): Promise<Reading>
  /** Before each measured window: what it tells of itself at its end counts from the first. */
  begin?(): Promise<void>
  /** Ends it; the lab takes care of what is left. */
  stop(): Promise<void>
}
