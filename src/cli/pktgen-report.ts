/** What `ringpath pktgen` found, for people. */
import type { LatencySummary } from '../pktgen/latency-histogram.js'
import { wireBits } from '../pktgen/rate.js'
import type { SearchResult, TrialReport } from '../pktgen/rate-search.js'
import type { IntervalReport, RunResult } from '../pktgen/run.js'
import { lostOf, type SinkReport } from '../pktgen/sink.js'
import { meanFrameBytes } from '../pktgen/size-mix.js'
import type { TrafficSpec } from '../pktgen/traffic-spec.js'
import { paint } from './output.js'

const TITLE_COLUMNS = 14

const line = (title: string, text: string): string => `${title.padEnd(TITLE_COLUMNS)}${text}`

/** Three or four digits and a prefix: 1.52 M, 999 k. */
function short(value: number): string {
  const prefixes = ['', ' k', ' M', ' G']
  let rest = value
  let prefix = 0
  while (rest >= 999.5 && prefix < prefixes.length - 1) {
    rest /= 1_000
    prefix++
  }
  const digits = prefix === 0 && Number.isInteger(rest) ? 0 : rest < 10 ? 2 : rest < 100 ? 1 : 0
  return `${rest.toFixed(digits)}${prefixes[prefix]}`
}

function duration(nanoseconds: number): string {
  if (nanoseconds < 1e3) return `${nanoseconds.toFixed(0)} ns`
  if (nanoseconds < 1e6) return `${(nanoseconds / 1e3).toFixed(1)} us`
  return nanoseconds < 1e9
    ? `${(nanoseconds / 1e6).toFixed(2)} ms`
    : `${(nanoseconds / 1e9).toFixed(2)} s`
}

export function intervalText(report: IntervalReport): string {
  const received = report.receivedPerSecond
  const sent = `sent ${short(report.sentPerSecond)}/s`
  return received === undefined ? sent : `${sent}, received ${short(received)}/s`
}

export function resultText(result: RunResult): string {
  const { sentPerSecond, wireBitsPerSecond, seconds } = result
  const speed = `${short(sentPerSecond)} frames/s, ${short(wireBitsPerSecond)}bit/s on the wire`
  const lines = [line('sent', `${result.sent} frames in ${seconds.toFixed(3)} s, ${speed}`)]
  if (result.timesBehind > 0) {
    const text = `${result.timesBehind} times too far behind its rate to make up for it`
    lines.push(line('sender', paint.yellow(text)))
  }
  if (result.received === undefined) return lines.join('\n')
  const lost = result.lost ?? 0
  const share = ((result.lossRatio ?? 0) * 100).toFixed(4)
  lines.push(line('received', `${result.received} frames`))
  lines.push(line('lost', (lost > 0 ? paint.red : paint.green)(`${lost} (${share} %)`)))
  if ((result.sinkDropped ?? 0) > 0) {
    lines.push(line('sink', paint.yellow(`was too slow for ${result.sinkDropped} frames`)))
  }
  lines.push(line('order', orderText(result)))
  lines.push(latencyText(result.latency))
  return lines.join('\n')
}

type Order = Pick<RunResult, 'duplicates' | 'reordered' | 'reorderExtent'>

function orderText({ duplicates, reordered = 0, reorderExtent = 0 }: Order): string {
  if (duplicates === undefined) return 'not measured'
  const most = reordered > 0 ? `, by ${reorderExtent} frames of the flow at most` : ''
  return `${duplicates} duplicates, ${reordered} out of order${most}`
}

function latencyText(latency: LatencySummary | undefined): string {
  if (latency === undefined) return line('latency', 'not measured: no frame told when it was sent')
  const { min, p50, p99, p999, max } = latency
  const parts = { min, p50, p99, 'p99.9': p999, max }
  const text = Object.entries(parts).map(([name, value]) => `${name} ${duration(value)}`)
  return line('latency', text.join(', '))
}

export function sinkText(report: SinkReport): string {
  const { frames, bytes, others, dropped, duplicates, reordered } = report
  const { p50 = 0, p99 = 0, max = 0 } = report.latency ?? {}
  const latency =
    report.latency === undefined
      ? ''
      : `, latency p50 ${duration(p50)}, p99 ${duration(p99)}, max ${duration(max)}`
  const lost =
    duplicates === undefined
      ? 'order not measured'
      : `${lostOf(report)} missing, ${duplicates} duplicates, ${reordered} out of order`
  const apart = `${others} others, sink too slow for ${dropped}`
  return `${frames} frames, ${bytes} bytes, ${lost}${latency}; ${apart}`
}

export function trialText(trial: TrialReport): string {
  const verdict = trial.isPassed ? paint.green('passed') : paint.red(`lost ${trial.lost}`)
  const limit = trial.isSenderLimited ? paint.yellow(' (all that the sender can do)') : ''
  const sent = `sent ${trial.sent} at ${short(trial.offered)}/s`
  return `${short(trial.rate)}/s: ${sent}: ${verdict}${limit}`
}

export function searchText(result: SearchResult, spec: TrafficSpec): string {
  if (result.best === undefined) return line('result', paint.red('frames are lost at every rate'))
  const bits = result.rate * wireBits(meanFrameBytes(spec.sizes))
  const lines = [line('result', `${short(result.rate)} frames/s, ${short(bits)}bit/s on the wire`)]
  if (result.isSenderLimited) {
    lines.push(line('', paint.yellow('this is what the sender can do: the true rate is higher')))
  }
  return lines.join('\n')
}
