/** One run: a sender, a sink if there is one, reports while it lasts, and the result. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { deviceIndex } from './device.js'
import type { LatencySummary } from './latency-histogram.js'
import { startSender } from './process-sender.js'
import { type Rate, WIRE_OVERHEAD_BYTES } from './rate.js'
import {
  type SearchOptions,
  type SearchResult,
  searchRate,
  type Trial,
  type TrialReport,
} from './rate-search.js'
import {
  type Engine,
  type Sender,
  type SendOptions,
  type SendReport,
  sentPerSecond,
} from './sender.js'
import { lostOf, type Sink, type SinkReport } from './sink.js'

/** What frames that are still under way are given. */
export const SETTLE_SECONDS_DEFAULT = 0.5

export interface RunOptions extends SendOptions {
  readonly engine: Engine
  readonly settleSeconds: number
}

/** Since the last such report. */
export interface IntervalReport {
  readonly type: 'interval'
  readonly seconds: number
  readonly sentPerSecond: number
  readonly receivedPerSecond?: number
}

export interface RunResult {
  readonly type: 'result'
  readonly sent: number
  readonly sentBytes: number
  readonly sentPerSecond: number
  /** With preambles, gaps and check sequences. */
  readonly wireBitsPerSecond: number
  /** Seconds from the first to the last. */
  readonly seconds: number
  readonly timesBehind: number
  readonly received?: number
  readonly receivedBytes?: number
  readonly lost?: number
  /** Of frames that arrived: the sink was too slow for them. A generator's are in `lost`, too. */
  readonly sinkDropped?: number
  readonly lossRatio?: number
  /** These three: none of a sink that does not look at numbers. */
  readonly duplicates?: number
  readonly reordered?: number
  readonly reorderExtent?: number
  /** Nanoseconds; none without stamps. */
  readonly latency?: LatencySummary
}

const INTERVAL_MILLISECONDS = 1_000
const NANOSECONDS = 1e9

/**
 * Sends what the spec says and waits for what is under way. `signal` ends it early.
 *
 * @throws RingpathError GENERATOR when the device or the sink's goes away meanwhile: no engine is
 * told, and frames would count as lost
 */
export async function runTraffic(
  options: RunOptions,
  sink: Sink | undefined,
  tell: (report: IntervalReport) => void = () => undefined,
  signal?: AbortSignal,
): Promise<RunResult> {
  await sink?.reset()
  const { device } = options
  const index = deviceIndex(device)
  const isDeviceThere = () => deviceIndex(device) === index
  const sender = await startSender(options.engine, options)
  const stop = () => void sender.stop().catch(() => undefined)
  signal?.addEventListener('abort', stop, { once: true })
  try {
    const report = await follow(sender, sink, tell, isDeviceThere).catch(async (error) => {
      const sent = await sender.stop()
      // Both ends of a veth go at once: it is our own that is told.
      if (isDeviceThere()) throw error
      return sent
    })
    if (!isDeviceThere()) {
      const expected = `expected one that stays: it went away after ${report.frames} frames`
      throw new RingpathError(ErrorCode.GENERATOR, `device: ${device}, ${expected}`)
    }
    if (sink === undefined) return resultOf(report, undefined)
    await sleep(options.settleSeconds * 1_000)
    return resultOf(report, await sink.read())
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

async function follow(
  sender: Sender,
  sink: Sink | undefined,
  tell: (report: IntervalReport) => void,
  isDeviceThere: () => boolean,
): Promise<SendReport> {
  let before = await sender.read()
  let receivedBefore = (await sink?.read())?.frames ?? 0
  for (;;) {
    const tick = new AbortController()
    const waited = sleep(INTERVAL_MILLISECONDS, undefined, { signal: tick.signal })
    // The aborted one of the two.
    waited.catch(() => undefined)
    const end = await Promise.race([sender.finished, waited])
    tick.abort()
    if (end !== undefined) return end
    if (!isDeviceThere()) return sender.stop()
    const now = await sender.read()
    const received = (await sink?.read())?.frames
    const seconds = (now.nowNanoseconds - before.nowNanoseconds) / NANOSECONDS
    // The last answer of one that has just ended may be the same as the one before.
    if (seconds > 0) {
      tell({
        type: 'interval',
        seconds,
        sentPerSecond: (now.frames - before.frames) / seconds,
        ...(received === undefined
          ? {}
          : { receivedPerSecond: (received - receivedBefore) / seconds }),
      })
    }
    before = now
    receivedBefore = received ?? 0
  }
}

export function resultOf(sent: SendReport, seen: SinkReport | undefined): RunResult {
  const perSecond = sentPerSecond(sent)
  const wireBytes = sent.bytes + sent.frames * WIRE_OVERHEAD_BYTES
  const base: RunResult = {
    type: 'result',
    sent: sent.frames,
    sentBytes: sent.bytes,
    sentPerSecond: perSecond,
    wireBitsPerSecond: sent.frames === 0 ? 0 : (perSecond * wireBytes * 8) / sent.frames,
    seconds: Math.max(0, sent.lastNanoseconds - sent.firstNanoseconds) / NANOSECONDS,
    timesBehind: sent.timesBehind,
  }
  if (seen === undefined) return base
  const lost = lostOf(seen, sent.frames)
  const { duplicates, reordered, reorderExtent } = seen
  return {
    ...base,
    received: seen.frames,
    receivedBytes: seen.bytes,
    lost,
    sinkDropped: seen.dropped,
    lossRatio: sent.frames === 0 ? 0 : lost / sent.frames,
    ...(duplicates === undefined ? {} : { duplicates, reordered, reorderExtent }),
    ...(seen.latency === undefined ? {} : { latency: seen.latency }),
  }
}

export interface TrialOptions extends RunOptions, SearchOptions {
  readonly trialSeconds: number
}

/** The highest rate without loss between sender and sink. */
export function searchTraffic(
  options: TrialOptions,
  sink: Sink,
  tell: (report: TrialReport) => void,
  signal?: AbortSignal,
): Promise<SearchResult> {
  const trial = async (perSecond: number): Promise<Trial> => {
    const rate: Rate = { unit: 'frames', perSecond }
    const spec = { ...options.spec, rate, frames: 0, seconds: options.trialSeconds }
    const result = await runTraffic({ ...options, spec }, sink, undefined, signal)
    signal?.throwIfAborted()
    return { offered: result.sentPerSecond, sent: result.sent, lost: result.lost ?? 0 }
  }
  return searchRate(trial, options, tell)
}
