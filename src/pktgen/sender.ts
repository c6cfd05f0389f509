/** What every way of sending has in common: it runs by itself, can be asked, and ends. */
import type { TrafficSpec } from './traffic-spec.js'

/**
 * `xdp`: in the kernel, by BPF_PROG_RUN on live frames. `af-xdp`: from Node. `pktgen`: the kernel's
 * own, where it is built in.
 */
export const ENGINES = ['xdp', 'af-xdp', 'pktgen'] as const
export type Engine = (typeof ENGINES)[number]

/** So far, or in the end. Times are CLOCK_MONOTONIC; 0 when nothing was sent. */
export interface SendReport {
  readonly frames: number
  readonly bytes: number
  readonly firstNanoseconds: number
  readonly lastNanoseconds: number
  readonly nowNanoseconds: number
  /** How often so far behind its rate that it forgot what it owed. */
  readonly timesBehind: number
}

export interface SendOptions {
  readonly spec: TrafficSpec
  readonly device: string
  readonly core?: number
  /** Of `af-xdp` and `pktgen`. */
  readonly queue: number
}

export interface Sender {
  read(): Promise<SendReport>
  /** Ends it, if it has not ended by itself, and tells what it has sent. */
  stop(): Promise<SendReport>
  /** When it has sent what it was to send. */
  readonly finished: Promise<SendReport>
}

const NANOSECONDS = 1e9

/**
 * Frames per second from the first to the last: a run's own speed, whatever it took to set up. A
 * sender without a clock of its own tells no last one.
 */
export function sentPerSecond(report: SendReport): number {
  const end = Math.max(report.lastNanoseconds, report.firstNanoseconds)
  const seconds = (end - report.firstNanoseconds) / NANOSECONDS
  return seconds > 0 && report.frames > 1 ? (report.frames - 1) / seconds : 0
}
