/**
 * The thread of a TypeScript forwarder that moves frames: the engine's exchange and burst loop with
 * one of two handlers.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { BURST_CAPACITY } from '../../src/base/limits.js'
import { ConntrackGc } from '../../src/conntrack/ct-gc.js'
import { BurstLoop, type Housekeeping } from '../../src/engine/burst-loop.js'
import { IDLE_DEFAULTS, IdleStrategy } from '../../src/engine/idle-strategy.js'
import { PortManager } from '../../src/engine/port-manager.js'
import { StatisticsPublisher } from '../../src/engine/statistics-publisher.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { DatapathMaps, MAP_SIZES } from '../../src/pipeline/datapath-maps.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { XskExchange } from '../../src/port/xsk-exchange.js'
import { HeapWatch } from '../lib/heap-watch.js'
import { addTwoPods, type BenchPod } from '../lib/two-pods.js'
import {
  ForwarderControl,
  type ForwarderPort,
  type ForwarderReport,
  type WorkerInput,
} from './forwarder-messages.js'
import { MacRewriter } from './mac-rewriter.js'

/** As the engine's default, and the yardstick's. */
const FRAME_COUNT = 16_384

/** Opens and closes the measured window when the main thread says so. */
class Window implements Housekeeping {
  readonly #control: Int32Array
  readonly #watch: HeapWatch
  readonly #frames: () => number
  #isOpen = false
  #framesAtBegin = 0
  frames = 0

  constructor(control: Int32Array, watch: HeapWatch, frames: () => number) {
    this.#control = control
    this.#watch = watch
    this.#frames = frames
  }

  step(): void {
    const isWanted = Atomics.load(this.#control, ForwarderControl.MEASURE) !== 0
    if (isWanted === this.#isOpen) return
    this.#isOpen = isWanted
    if (isWanted) {
      this.#framesAtBegin = this.#frames()
      this.#watch.begin()
    } else {
      this.#watch.end()
      this.frames = this.#frames() - this.#framesAtBegin
    }
  }
}

const pod = (port: ForwarderPort): BenchPod => ({
  device: port.device,
  address: port.address,
  mac: port.destinationMac,
  nodeMac: port.sourceMac,
})

async function run(input: WorkerInput): Promise<void> {
  const [sender, receiver] = input.ports
  if (sender === undefined || receiver === undefined) throw new Error('a forwarder has two ports')
  const control = new Int32Array(input.control)
  const maps = DatapathMaps.inMemory({ ...MAP_SIZES, connections: Math.max(4096, 4 * input.flows) })
  addTwoPods(maps, pod(sender), pod(receiver))
  const exchange = new XskExchange({ frameCount: FRAME_COUNT })
  const packet = new PacketBuffer(exchange.umem, exchange.stride)
  const pipeline = new Pipeline(maps.stateFor(0), packet, BURST_CAPACITY)
  const isChain = input.kind === 'chain'
  const handler = isChain ? pipeline : new MacRewriter(packet, [sender, receiver])
  const watch = new HeapWatch()
  const window = new Window(control, watch, () => loop.frames)
  const housekeeping = [
    new PortManager(maps.ports, exchange, (line) => console.error(line)),
    new ConntrackGc(maps.conntrackTable),
    new StatisticsPublisher(exchange, maps.portStatistics.row(0)),
    window,
    ...(isChain ? [pipeline] : []),
  ]
  const idle = new IdleStrategy({ ...IDLE_DEFAULTS, mode: 'spin' })
  const loop = new BurstLoop(exchange, handler, idle, housekeeping)
  loop.turn()
  parentPort?.postMessage('ready')
  loop.runUntil(control, ForwarderControl.STOP)
  const sendDropped = exchange.statistics(0).sendDropped + exchange.statistics(1).sendDropped
  exchange.close()
  const report: ForwarderReport = { ...(await watch.report()), frames: window.frames, sendDropped }
  parentPort?.postMessage(report)
}

await run(workerData as WorkerInput)
