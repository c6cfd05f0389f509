/**
 * The thread of a TypeScript forwarder that moves frames: the engine's exchange and burst loop with
 * the pipeline or one of two trivial handlers.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { allocateMemory } from 'xdp-socket-napi'
import { BURST_CAPACITY } from '../../src/base/limits.js'
import { ConntrackGc } from '../../src/conntrack/ct-gc.js'
import { type BurstHandler, BurstLoop, type Housekeeping } from '../../src/engine/burst-loop.js'
import { IDLE_DEFAULTS, IdleStrategy } from '../../src/engine/idle-strategy.js'
import { PortManager } from '../../src/engine/port-manager.js'
import { StatisticsPublisher } from '../../src/engine/statistics-publisher.js'
import { takeCore } from '../../src/engine/worker-cores.js'
import { type Burst, NO_PORT } from '../../src/packet/burst.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import { FlowLane } from '../../src/pipeline/flow-lane.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { XskExchange } from '../../src/port/xsk-exchange.js'
import { HeapWatch } from '../lib/heap-watch.js'
import { sizesFor, writeScenario } from '../lib/node-scenario.js'
import {
  ForwarderControl,
  type ForwarderReport,
  Measuring,
  type WorkerInput,
} from './forwarder-messages.js'
import { MacRewriter } from './mac-rewriter.js'

/** As the engine's default. */
const FRAME_COUNT = 32_768

/** Watches from the first measured window on, which the harness announces. */
class Window implements Housekeeping {
  readonly #control: Int32Array
  readonly #watch: HeapWatch
  readonly #frames: () => number
  #framesAtBegin = 0

  constructor(control: Int32Array, watch: HeapWatch, frames: () => number) {
    this.#control = control
    this.#watch = watch
    this.#frames = frames
  }

  step(nowSeconds: number, nowNanoseconds: number): void {
    Atomics.store(this.#control, ForwarderControl.FRAMES, this.#frames() | 0)
    Atomics.store(this.#control, ForwarderControl.SECONDS, nowSeconds)
    Atomics.store(this.#control, ForwarderControl.NANOSECONDS, nowNanoseconds)
    Atomics.add(this.#control, ForwarderControl.TOLD, 1)
    if (Atomics.load(this.#control, ForwarderControl.MEASURING) !== Measuring.WANTED) return
    this.#framesAtBegin = this.#frames()
    this.#watch.begin()
    Atomics.store(this.#control, ForwarderControl.MEASURING, Measuring.BEGUN)
  }

  /** Frames since then. */
  end(): number {
    this.#watch.end()
    return this.#frames() - this.#framesAtBegin
  }
}

/** Receives, and nothing else. */
class Dropper implements BurstHandler {
  run(burst: Burst): void {
    for (let i = 0; i < burst.count; i++) burst.ports[i] = NO_PORT
  }
}

async function run(input: WorkerInput): Promise<void> {
  takeCore(input.core)
  const control = new Int32Array(input.control)
  const maps = DatapathMaps.inMemory(sizesFor(input.flows))
  writeScenario(maps, input.devices, input.flows)
  const exchange = new XskExchange({ frameCount: FRAME_COUNT })
  const packet = new PacketBuffer(exchange.umem, exchange.stride, exchange.chains)
  const pipeline = new Pipeline(maps.stateFor(0), packet, BURST_CAPACITY, {
    lane: new FlowLane(packet, BURST_CAPACITY, maps.conntrackTable.capacity, allocateMemory),
  })
  const handlers: Readonly<Record<WorkerInput['kind'], () => BurstHandler>> = {
    drop: () => new Dropper(),
    l2: () => new MacRewriter(packet, [input.devices.sender, input.devices.receiver]),
    chain: () => pipeline,
  }
  const handler = handlers[input.kind]()
  const watch = new HeapWatch()
  const window = new Window(control, watch, () => loop.frames)
  const housekeeping = [
    new PortManager(maps.ports, exchange, (line) => console.error(line)),
    new ConntrackGc(maps.conntrackTable),
    new StatisticsPublisher(exchange, maps.portStatistics.row(0)),
    window,
    ...(handler === pipeline ? [pipeline] : []),
  ]
  const idle = new IdleStrategy({ ...IDLE_DEFAULTS, mode: input.idle })
  const loop = new BurstLoop(exchange, handler, idle, housekeeping)
  loop.turn()
  parentPort?.postMessage('ready')
  loop.runUntil(control, ForwarderControl.STOP)
  const frames = window.end()
  const sendDropped = [0, 1, 2].reduce((sum, i) => sum + exchange.statistics(i).sendDropped, 0)
  exchange.close()
  const report: ForwarderReport = { ...(await watch.report()), frames, sendDropped }
  parentPort?.postMessage(report)
}

await run(workerData as WorkerInput)
