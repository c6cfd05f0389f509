/**
 * A process with the engine on real devices that watches its own time: how long exchanges take that
 * found nothing, those that carried frames, and the pipeline. Argument: WireInput as JSON. It prints
 * "ready", and one line of JSON in the end.
 */
import { readFileSync } from 'node:fs'
import { allocateMemory } from 'xdp-socket-napi'
import { BURST_CAPACITY } from '../../src/base/limits.js'
import { ConntrackGc } from '../../src/conntrack/ct-gc.js'
import { BurstLoop } from '../../src/engine/burst-loop.js'
import { IDLE_DEFAULTS, IdleStrategy } from '../../src/engine/idle-strategy.js'
import { PortManager } from '../../src/engine/port-manager.js'
import { tuneV8 } from '../../src/engine/v8-flags.js'
import type { Burst } from '../../src/packet/burst.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { FlowLane } from '../../src/pipeline/flow-lane.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import type { FrameExchange } from '../../src/port/port.js'
import { XskExchange } from '../../src/port/xsk-exchange.js'
import { type ScenarioDevices, scenarioMaps, writeScenario } from '../lib/node-scenario.js'

export interface WireInput {
  readonly devices: ScenarioDevices
  readonly flows: number
  readonly warmUpMilliseconds: number
  readonly windowMilliseconds: number
}

/** Milliseconds of the window, by what they were spent on. */
export interface WireReport {
  readonly frames: number
  readonly total: number
  /** Exchanges with nothing to send that found nothing. */
  readonly idle: number
  /** All others. */
  readonly exchange: number
  readonly pipeline: number
  /** Of the thread, in the kernel. */
  readonly system: number
}

const FRAME_COUNT = 32_768
const STARTING_TURNS = 10
const MILLISECONDS_PER_TICK = 10
/** Of what follows the command's name in /proc/<pid>/stat. */
const SYSTEM_TIME = 12

const Watch = { IDLE: 0, EXCHANGE: 1, PIPELINE: 2 } as const

function systemMilliseconds(): number {
  const stat = readFileSync(`/proc/self/task/${process.pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[SYSTEM_TIME]) * MILLISECONDS_PER_TICK
}

/** The exchange, with a watch. */
function timedExchange(exchange: XskExchange, times: Float64Array): FrameExchange {
  return {
    umem: exchange.umem,
    stride: exchange.stride,
    pool: exchange.pool,
    chains: exchange.chains,
    portNames: exchange.portNames,
    get framesOnRings() {
      return exchange.framesOnRings
    },
    exchange(burst: Burst, maxReceive?: number): number {
      const hadFrames = burst.count > 0
      const begin = performance.now()
      const count = exchange.exchange(burst, maxReceive)
      const watch = hadFrames || count > 0 ? Watch.EXCHANGE : Watch.IDLE
      times[watch] = (times[watch] as number) + performance.now() - begin
      return count
    },
    wait: (milliseconds) => exchange.wait(milliseconds),
    statistics: (port) => exchange.statistics(port),
    close: () => exchange.close(),
  }
}

function run(input: WireInput): void {
  tuneV8()
  const times = new Float64Array(Object.keys(Watch).length)
  const maps = scenarioMaps(input.flows)
  writeScenario(maps, input.devices, input.flows)
  const exchange = new XskExchange({ frameCount: FRAME_COUNT })
  const packet = new PacketBuffer(exchange.umem, exchange.stride, exchange.chains)
  const pipeline = new Pipeline(maps.stateFor(0), packet, BURST_CAPACITY, {
    lane: new FlowLane(packet, BURST_CAPACITY, maps.conntrackTable.capacity, allocateMemory),
  })
  const handler = {
    run(burst: Burst): void {
      const begin = performance.now()
      pipeline.run(burst)
      times[Watch.PIPELINE] = (times[Watch.PIPELINE] as number) + performance.now() - begin
    },
  }
  const housekeeping = [
    new PortManager(maps.ports, exchange, (line) => console.error(line)),
    new ConntrackGc(maps.conntrackTable),
    pipeline,
  ]
  const idle = new IdleStrategy({ ...IDLE_DEFAULTS, mode: 'spin' })
  const loop = new BurstLoop(timedExchange(exchange, times), handler, idle, housekeeping)
  for (let turn = 0; turn < STARTING_TURNS; turn++) loop.turn()
  console.log('ready')
  const turnFor = (milliseconds: number) => {
    const end = performance.now() + milliseconds
    while (performance.now() < end) loop.turn()
  }
  turnFor(input.warmUpMilliseconds)
  times.fill(0)
  const framesBefore = loop.frames
  const systemBefore = systemMilliseconds()
  const begin = performance.now()
  turnFor(input.windowMilliseconds)
  const report: WireReport = {
    frames: loop.frames - framesBefore,
    total: performance.now() - begin,
    idle: times[Watch.IDLE] as number,
    exchange: times[Watch.EXCHANGE] as number,
    pipeline: times[Watch.PIPELINE] as number,
    system: systemMilliseconds() - systemBefore,
  }
  exchange.close()
  console.log(JSON.stringify(report))
}

run(JSON.parse(process.argv[2] ?? '') as WireInput)
