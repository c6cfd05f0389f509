/**
 * One worker as a source, on a core of its own: sends the same frames by the engine's own exchange, 64 a
 * burst, for a time, and tells how many the kernel took.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { setThreadCores } from 'xdp-socket-napi'
import { BURST_CAPACITY, BURST_RECEIVE_MAX } from '../../src/base/limits.js'
import { Burst } from '../../src/packet/burst.js'
import { NO_FRAME } from '../../src/packet/frame-pool.js'
import { XskExchange } from '../../src/port/xsk-exchange.js'

export interface TransmitJob {
  readonly device: string
  readonly core: number
  readonly frameBytes: number
  readonly milliseconds: number
  /** Both workers begin together: word 0 counts those who are ready, of so many. */
  readonly meeting: SharedArrayBuffer
  readonly workers: number
}

const FRAMES = 4096
/** In front of a frame: the kernel's. */
const HEADROOM_BYTES = 256
const WARM_MILLISECONDS = 500

function transmit(job: TransmitJob): number {
  const { device, core, frameBytes, milliseconds, meeting, workers } = job
  setThreadCores([core])
  const exchange = new XskExchange({ frameCount: FRAMES })
  exchange.attach(0, device, 'pod')
  const burst = new Burst(BURST_CAPACITY)
  exchange.exchange(burst, 0)
  fillFrames(exchange, frameBytes)
  const words = new Int32Array(meeting)
  Atomics.add(words, 0, 1)
  while (Atomics.load(words, 0) < workers);
  sendFor(exchange, burst, frameBytes, WARM_MILLISECONDS)
  const before = exchange.statistics(0).sentFrames
  const begin = performance.now()
  sendFor(exchange, burst, frameBytes, milliseconds)
  const seconds = (performance.now() - begin) / 1000
  const frames = exchange.statistics(0).sentFrames - before
  exchange.close()
  return frames / seconds
}

/** Ethernet to nobody in particular, an unknown type: the far end drops it at once. */
function fillFrames(exchange: XskExchange, frameBytes: number): void {
  const memory = new Uint8Array(exchange.umem)
  for (let frame = 0; frame < FRAMES; frame++) {
    const start = frame * exchange.stride + HEADROOM_BYTES
    memory.fill(0, start, start + frameBytes)
    memory.set([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5], start)
  }
}

function sendFor(
  exchange: XskExchange,
  burst: Burst,
  frameBytes: number,
  milliseconds: number,
): void {
  const end = performance.now() + milliseconds
  const { pool } = exchange
  while (performance.now() < end) {
    let count = 0
    for (; count < BURST_RECEIVE_MAX; count++) {
      const frame = pool.take()
      if (frame === NO_FRAME) break
      burst.starts[count] = frame + HEADROOM_BYTES
      burst.lengths[count] = frameBytes
      burst.ports[count] = 0
    }
    burst.count = count
    exchange.exchange(burst, 0)
  }
}

parentPort?.postMessage(transmit(workerData as TransmitJob))
