/**
 * The full chain over AF_XDP between namespaces, at full load and at a tenth of it: what the worker's
 * nanoseconds per packet go to, and what the generator's core has to do for a packet, which is the
 * kernel's receive besides its own work.
 */
import { fileURLToPath } from 'node:url'
import { Lab } from '../../src/lab/lab.js'
import type { Sink } from '../../src/pktgen/sink.js'
import { coreSeconds } from '../lib/cpu-share.js'
import { destinationOf } from '../lib/node-scenario.js'
import { GENERATOR_CORE, Track } from '../wire/track.js'
import { startSink, TrafficRun } from '../wire/traffic.js'
import type { Split } from './memory-split.js'
import type { WireInput, WireReport } from './wire-worker.js'

const WORKER = fileURLToPath(new URL('./wire-worker.js', import.meta.url))
const FRAME_BYTES = 64
/** Frames per second, as `Traffic` has it: as many as the generator can. */
const AS_MANY_AS_POSSIBLE = 0
const MILLISECONDS = { full: [4000, 4000], quick: [3000, 2000], smoke: [300, 300] } as const
/** The generator begins before the worker's warm-up ends, and outlives its window. */
const SPARE_SECONDS = 2
const NANOSECONDS = 1e6
const TENTH = 0.1

export async function splitOnTheWire(
  size: 'full' | 'quick' | 'smoke',
  flows: number,
): Promise<Split[]> {
  const full = await measure(size, flows, AS_MANY_AS_POSSIBLE)
  const rate = Math.round((full.report.frames / full.report.total) * 1000 * TENTH)
  const tenth = await measure(size, flows, rate)
  return [splitOf(full, 'full load'), splitOf(tenth, 'a tenth of it')]
}

interface Measured {
  readonly report: WireReport
  /** Seconds of the generator's core for each second. */
  readonly generatorShare: number
}

async function measure(
  size: 'full' | 'quick' | 'smoke',
  flows: number,
  rate: number,
): Promise<Measured> {
  const lab = await Lab.create({ name: 'explain' })
  let sink: Sink | undefined
  try {
    const track = await Track.create(lab, 't')
    const { devices } = track
    // What arrives is dropped before the peer's stack looks at it, as in the wire benchmarks.
    sink = await startSink(track.peer)
    const [warmUpMilliseconds, windowMilliseconds] = MILLISECONDS[size]
    const input: WireInput = { devices, flows, warmUpMilliseconds, windowMilliseconds }
    const worker = track.spawn(process.execPath, [WORKER, JSON.stringify(input)])
    await worker.waitForOutput(/ready/)
    const seconds = (warmUpMilliseconds + windowMilliseconds) / 1000 + SPARE_SECONDS
    const target = { address: destinationOf('full', devices), mac: track.sender.hostMac }
    const traffic = { frameBytes: FRAME_BYTES, flows, rate, seconds }
    const generator = new TrafficRun(track, target, traffic)
    await pause(warmUpMilliseconds)
    const [cpuBefore, before] = [coreSeconds(GENERATOR_CORE), performance.now()]
    const match = await worker.waitForOutput(/\{.*\}/, seconds * 2000)
    const elapsed = (performance.now() - before) / 1000
    const generatorShare = (coreSeconds(GENERATOR_CORE) - cpuBefore) / elapsed
    const report = JSON.parse(match[0]) as WireReport
    if (report.frames === 0) throw new Error(`no frame came: ${generator.process.output}`)
    return { report, generatorShare }
  } finally {
    await sink?.close()
    await lab.close()
  }
}

function splitOf({ report, generatorShare }: Measured, load: string): Split {
  const { frames, total, idle, exchange, pipeline, system } = report
  const each = (milliseconds: number) => (milliseconds * NANOSECONDS) / frames
  const transmit = Math.min(system, exchange)
  const rate = ((frames / total) * 1000).toFixed(0)
  return {
    title: `full chain on the wire, ${load}: ${rate} frames a second, % of both cores together`,
    parts: [
      ['kernel transmit (system time of the worker)', each(transmit)],
      ['rings: the exchange without it', each(exchange - transmit)],
      ['pipeline', each(pipeline)],
      ['the loop, housekeeping, and this watch', each(total - idle - exchange - pipeline)],
      ['idle: exchanges that found nothing', each(idle)],
      ['kernel receive and generator, on their own core', each(total * generatorShare)],
    ],
  }
}

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))
