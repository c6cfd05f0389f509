/** A sink as a program of its own: counts a generator's frames on a device, in the kernel or by AF_XDP. */
import { fileURLToPath } from 'node:url'
import { type LatencySummary, summarizeLatency } from './latency-histogram.js'
import { LineProcess } from './line-process.js'
import { builtProgram } from './process-sender.js'

/** Where the frames are taken: before the stack in the driver, at its beginning, or by AF_XDP. */
export const SINK_HOOKS = ['xdp', 'tc', 'af-xdp'] as const
export type SinkHook = (typeof SINK_HOOKS)[number]

/** Times alone, or nothing, at half the cost; else numbers too: duplicates and order. */
export type SinkChecks = 'all' | 'latency' | 'nothing'

export interface SinkOptions {
  readonly device: string
  readonly hook: SinkHook
  /** The sender's: frames of one flow only can be out of order. */
  readonly flows: number
  /** As `ip netns` knows it. */
  readonly namespace?: string
  /** What it looks at besides frames and bytes; all of it unless given, and by `af-xdp`. */
  readonly checks?: SinkChecks
}

/** What such a program answers. */
export interface SinkAnswer {
  /** CLOCK_MONOTONIC of the answer. */
  readonly nanoseconds: number
  readonly frames: number
  readonly bytes: number
  /** Frames that no generator sent. */
  readonly others: number
  /** Frames of either kind that arrived and found the sink too slow; in the kernel none does. */
  readonly dropped: number
  readonly duplicates: number
  readonly reordered: number
  readonly reorderExtent: number
  readonly highest: number
  readonly latencySum: number
  readonly latencyMin: number
  readonly latencyMax: number
  readonly histogram: readonly (readonly [bucket: number, count: number])[]
}

/** As generator/count.c has them. */
const CHECK_WORDS: Readonly<Record<SinkChecks, readonly string[]>> = {
  all: [],
  latency: ['no-order'],
  nothing: ['plain'],
}

/** Numbers that only a sink with `checks: 'all'` looks at. */
type OrderCounts = Pick<SinkAnswer, 'duplicates' | 'reordered' | 'reorderExtent'>

/** Without the numbers that were not measured. */
export interface SinkReport
  extends Omit<SinkAnswer, 'histogram' | keyof OrderCounts>,
    Partial<OrderCounts> {
  /** Undefined when no frame told when it was sent. */
  readonly latency: LatencySummary | undefined
}

export class Sink {
  readonly #child: LineProcess
  readonly #checksOrder: boolean

  private constructor(child: LineProcess, checksOrder: boolean) {
    this.#child = child
    this.#checksOrder = checksOrder
  }

  /** @throws RingpathError GENERATOR */
  static async start(options: SinkOptions): Promise<Sink> {
    const { device, hook, flows, namespace, checks = 'all' } = options
    const words = CHECK_WORDS[checks]
    const place = namespace === undefined ? {} : { namespace }
    const child =
      hook === 'af-xdp'
        ? new LineProcess(process.execPath, [xskSink, device, `${flows}`], place)
        : new LineProcess(builtProgram('count'), [device, hook, `${flows}`, ...words], place)
    await child.ready()
    return new Sink(child, checks === 'all' || hook === 'af-xdp')
  }

  /** @throws RingpathError GENERATOR when the device is gone */
  async read(): Promise<SinkReport> {
    const { histogram, ...answer } = await this.#child.ask<SinkAnswer>()
    const { duplicates, reordered, reorderExtent, ...rest } = answer
    const { latencySum: sum, latencyMin: min, latencyMax: max } = rest
    return {
      ...rest,
      ...(this.#checksOrder ? { duplicates, reordered, reorderExtent } : {}),
      latency: summarizeLatency({ buckets: histogram, sum, min, max }),
    }
  }

  /** Forgets what was seen. Frames that are sent when this has resolved are counted from nothing. */
  async reset(): Promise<void> {
    await this.#child.ask<SinkAnswer>('reset')
  }

  async close(): Promise<void> {
    await this.#child.close()
  }
}

const xskSink = fileURLToPath(new URL('./xsk-sink-main.js', import.meta.url))

/** Of the numbers that were sent, those that never came. Without a sender: up to the highest seen. */
export function lostOf(report: SinkReport, sent: number = report.highest): number {
  return Math.max(0, sent - (report.frames - (report.duplicates ?? 0)))
}
