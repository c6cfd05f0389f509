/**
 * The full chain over AF_XDP between namespaces, at full load and at a tenth of it: what the worker's
 * nanoseconds per packet go to, and what the generator's core has to do for a packet, which is the
 * kernel's receive besides its own work.
 */
import { fileURLToPath } from 'node:url'
import { Lab } from '../../src/lab/lab.js'
import { coreSeconds } from '../lib/cpu-share.js'
import { DESTINATION, MEMORY_DEVICES, type ScenarioDevices } from '../lib/node-scenario.js'
import { DESTINATION_PORT_FIRST, SOURCE_PORT_FIRST } from '../lib/two-pods.js'
import type { Split } from './memory-split.js'
import type { WireInput, WireReport } from './wire-worker.js'

const WORKER = fileURLToPath(new URL('./wire-worker.js', import.meta.url))
const RINGPATH = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))
const [GENERATOR_CORE, WORKER_CORE] = ['0', '1']
const FRAME_BYTES = 64
const MILLISECONDS = { full: [4000, 4000], quick: [3000, 2000], smoke: [300, 300] } as const
/** The generator begins before the worker's warm-up ends, and outlives its window. */
const SPARE_SECONDS = 2
const NANOSECONDS = 1e6
const TENTH = 0.1

export async function splitOnTheWire(
  size: 'full' | 'quick' | 'smoke',
  flows: number,
): Promise<Split[]> {
  const full = await measure(size, flows, 'max')
  const rate = Math.round((full.report.frames / full.report.total) * 1000 * TENTH)
  const tenth = await measure(size, flows, String(rate))
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
  rate: string,
): Promise<Measured> {
  const lab = await Lab.create({ name: 'explain' })
  try {
    const node = await lab.namespace('node')
    const sender = await lab.pod(node, 'sender', { address: MEMORY_DEVICES.sender.address })
    const receiver = await lab.pod(node, 'receiver', { address: MEMORY_DEVICES.receiver.address })
    const peer = await lab.pod(node, 'peer', { address: MEMORY_DEVICES.peer.address })
    const benchPod = ({ device, address, podMac, hostMac }: typeof sender) => {
      return { device, address, mac: podMac, nodeMac: hostMac }
    }
    const devices: ScenarioDevices = {
      sender: benchPod(sender),
      receiver: benchPod(receiver),
      uplink: { device: peer.device, address: MEMORY_DEVICES.uplink.address, mac: peer.hostMac },
      peer: { address: peer.address, mac: peer.podMac },
    }
    // What reaches the peer is dropped before its stack looks at it.
    await lab.exec(peer, 'tc', ['qdisc', 'add', 'dev', 'eth0', 'clsact'])
    const drop = ['filter', 'add', 'dev', 'eth0', 'ingress', 'matchall', 'action', 'drop']
    await lab.exec(peer, 'tc', drop)
    const [warmUpMilliseconds, windowMilliseconds] = MILLISECONDS[size]
    const input: WireInput = { devices, flows, warmUpMilliseconds, windowMilliseconds }
    const args = ['-c', WORKER_CORE, process.execPath, WORKER, JSON.stringify(input)]
    const worker = lab.spawn(node, 'taskset', args)
    await worker.waitForOutput(/ready/)
    const seconds = (warmUpMilliseconds + windowMilliseconds) / 1000 + SPARE_SECONDS
    const generator = lab.spawn(sender, process.execPath, [
      ...[RINGPATH, 'pktgen', '--device', 'eth0', '--size', String(FRAME_BYTES)],
      ...['--from', `${sender.address}:${SOURCE_PORT_FIRST}-${SOURCE_PORT_FIRST + flows - 1}`],
      ...['--to', `${DESTINATION.full}:${DESTINATION_PORT_FIRST}`, '--to-mac', sender.hostMac],
      ...['--flows', String(flows), '--rate', rate, '--seconds', String(seconds)],
      ...['--no-timestamps', '--core', GENERATOR_CORE, '--allow-default-route'],
    ])
    await pause(warmUpMilliseconds)
    const [cpuBefore, before] = [coreSeconds(GENERATOR_CORE), performance.now()]
    const match = await worker.waitForOutput(/\{.*\}/, seconds * 2000)
    const elapsed = (performance.now() - before) / 1000
    const generatorShare = (coreSeconds(GENERATOR_CORE) - cpuBefore) / elapsed
    const report = JSON.parse(match[0]) as WireReport
    if (report.frames === 0) throw new Error(`no frame came: ${generator.output}`)
    return { report, generatorShare }
  } finally {
    await lab.close()
  }
}

function splitOf({ report, generatorShare }: Measured, load: string): Split {
  const { frames, total, idle, exchange, pipeline, system } = report
  const each = (milliseconds: number) => (milliseconds * NANOSECONDS) / frames
  const transmit = Math.min(system, exchange)
  const rate = ((frames / total) * 1000).toFixed(0)
  return {
    title: `full chain on the wire, ${load}: ${rate} frames a second`,
    parts: [
      ['kernel transmit (system time of the worker)', each(transmit)],
      ['rings: the exchange without it', each(exchange - transmit)],
      ['pipeline', each(pipeline)],
      ['housekeeping, and this watch', each(total - idle - exchange - pipeline)],
      ['idle: exchanges that found nothing', each(idle)],
      ['kernel receive and generator, on their own core', each(total * generatorShare)],
    ],
  }
}

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))
