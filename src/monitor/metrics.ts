/**
 * Frames and bytes by reason and direction (Cilium: cilium_metrics, pkg/maps/metricsmap). Reason 0
 * is "forwarded".
 */
import type { CounterMap } from '../maps/counter-map.js'

const DIRECTIONS = 4
const REASONS = 256
/** Frames, then bytes, of each reason and direction. */
export const METRIC_COUNTERS = REASONS * DIRECTIONS * 2

export const REASON_FORWARDED = 0
/** Codes from here on are drops. */
const DROP_REASON_MIN = 130

export const isDropReason = (reason: number): boolean => reason >= DROP_REASON_MIN

/**
 * What else is counted, of packets that are forwarded or dropped all the same: codes below 130,
 * which are no losses (bpf/lib/drop_reasons.h). From 100 on they are ours.
 */
export const NotedReason = {
  FRAGMENT: 9,
  /** The table had no room for the ports of a first fragment; its later ones drop with 175. */
  FRAGMENT_UPDATE_FAILED: 10,
  /** Policy would have dropped it, and it passed by audit mode. */
  POLICY_AUDITED: 100,
  /** "Fragmentation needed" was sent. */
  MTU_ERROR_SENT: 15,
  /** An ICMP error or a reset was sent in answer to the packet. */
  ANSWER_SENT: 101,
  /** It would have been, but its port's answers were used up. */
  ANSWER_LIMITED: 102,
} as const
export type NotedReason = (typeof NotedReason)[keyof typeof NotedReason]

/** What an operator reads. */
const NOTED_TEXTS: Readonly<Record<NotedReason, string>> = {
  [NotedReason.FRAGMENT]: 'fragment of a datagram',
  [NotedReason.FRAGMENT_UPDATE_FAILED]: 'no room for the ports of a first fragment',
  [NotedReason.MTU_ERROR_SENT]: 'sender told that its packet is too large for its way',
  [NotedReason.POLICY_AUDITED]: 'policy would have dropped it: audit mode',
  [NotedReason.ANSWER_SENT]: 'sender answered by an ICMP error or a reset',
  [NotedReason.ANSWER_LIMITED]: 'sender not answered: its port’s answers were used up',
}

const NOTED_NAMES = new Map<number, string>(
  Object.entries(NotedReason).map(([name, value]) => [value, name]),
)

/** The name of a code that is no drop, `NOTED_<code>` for one that is not ours. */
export const notedReasonName = (code: number): string => NOTED_NAMES.get(code) ?? `NOTED_${code}`

export const notedReasonText = (code: number): string =>
  NOTED_TEXTS[code as NotedReason] ?? `unknown reason ${code}`

const cell = (reason: number, direction: number): number => (reason * DIRECTIONS + direction) * 2

/** One worker's own row; nobody else writes it. */
export class Metrics {
  readonly #counters: Float64Array

  constructor(map: CounterMap, worker: number) {
    this.#counters = map.row(worker)
  }

  count(reason: number, direction: number, bytes: number): void {
    this.add(reason, direction, 1, bytes)
  }

  add(reason: number, direction: number, frames: number, bytes: number): void {
    const at = cell(reason, direction)
    const counters = this.#counters
    counters[at] = (counters[at] as number) + frames
    counters[at + 1] = (counters[at + 1] as number) + bytes
  }
}

export interface MetricLine {
  /** A drop code, REASON_FORWARDED, or a NotedReason. */
  readonly reason: number
  /** 1 ingress, 2 egress, 3 service, 0 where the packet was of no endpoint. */
  readonly direction: number
  readonly frames: number
  readonly bytes: number
}

/** All counters that are not zero, added up over the workers. */
export function readMetrics(map: CounterMap): MetricLine[] {
  const lines: MetricLine[] = []
  for (let reason = 0; reason < REASONS; reason++) {
    for (let direction = 0; direction < DIRECTIONS; direction++) {
      const at = cell(reason, direction)
      const frames = map.sum(at)
      if (frames > 0) lines.push({ reason, direction, frames, bytes: map.sum(at + 1) })
    }
  }
  return lines
}
