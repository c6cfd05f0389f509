/**
 * A sink by AF_XDP, as a program: `xsk-sink-main.js device flows`. It takes all frames of the device,
 * counts a generator's and frees them; so the device is good for nothing else while it runs.
 *
 * It prints "ready", then for each line on standard input one line of JSON (SinkAnswer): what was seen
 * since the beginning or the last line "reset", whose answer is that of a new beginning. It ends with
 * its input, and with an error in place of an answer when the device is gone: what did not arrive was
 * not lost on its way.
 */
import '../base/sure-exit.js'
import { createInterface } from 'node:readline'
import {
  BURST_HEADER_WORDS,
  deviceInfo,
  NO_PORT,
  Poller,
  Umem,
  XdpProgram,
  XdpSocket,
} from 'xdp-socket-napi'
import { PacketBuffer } from '../packet/packet-buffer.js'
import { deviceIndex } from './device.js'
import { LatencyHistogram } from './latency-histogram.js'
import { monotonicNanoseconds } from './monotonic.js'
import { SequenceTracker } from './sequence-tracker.js'
import type { SinkAnswer } from './sink.js'
import { TagReader } from './tag.js'

/** Half of them receive: so many may arrive while this program waits for a processor. */
const FRAMES_PER_QUEUE = 4_096
const BURST = 64
const BURSTS_PER_TURN = 256
const WAIT_MILLISECONDS = 1

class XskSink {
  readonly #umem: Umem
  readonly #words = new Int32Array(BURST_HEADER_WORDS + 3 * BURST)
  readonly #starts = this.#words.subarray(BURST_HEADER_WORDS)
  readonly #lengths = this.#words.subarray(BURST_HEADER_WORDS + BURST)
  readonly #ports = this.#words.subarray(BURST_HEADER_WORDS + 2 * BURST)
  readonly #packet: PacketBuffer
  readonly #program: XdpProgram
  readonly #sockets: XdpSocket[] = []
  readonly #poller: Poller
  readonly #tag = new TagReader(Date.now() * 1e6 - monotonicNanoseconds())
  readonly #tracker: SequenceTracker
  readonly #latency = new LatencyHistogram()
  #frames = 0
  #bytes = 0
  #others = 0
  #droppedBefore = 0

  constructor(device: string, flows: number) {
    const queues = Math.max(1, deviceInfo(device).receiveQueues)
    const umem = new Umem({ frameCount: FRAMES_PER_QUEUE * queues })
    this.#umem = umem
    this.#packet = new PacketBuffer(umem.buffer, umem.strideBytes)
    this.#tracker = new SequenceTracker(flows)
    this.#program = XdpProgram.attach({ device, mode: 'pod' })
    this.#poller = new Poller({ umem, burstWords: this.#words })
    for (let queue = 0; queue < queues; queue++) {
      const socket = new XdpSocket({ umem, device, queue, fillTarget: FRAMES_PER_QUEUE / 2 })
      this.#sockets.push(socket)
      this.#poller.addSocket(socket, 0)
      this.#program.setSocket(queue, socket)
    }
  }

  /** True when nothing came. */
  turn(): boolean {
    const count = this.#poller.exchange(BURST)
    const time = count === 0 ? 0 : monotonicNanoseconds()
    for (let i = 0; i < count; i++) {
      this.#packet.attach(this.#starts[i] as number, this.#lengths[i] as number)
      if (this.#tag.read(this.#packet)) this.#count(time)
      else this.#others++
      this.#ports[i] = NO_PORT
    }
    return count === 0
  }

  wait(): void {
    this.#poller.wait(WAIT_MILLISECONDS)
  }

  /** Counts what has arrived and was not taken yet: whoever asks may have stopped sending long ago. */
  catchUp(): void {
    for (let burst = 0; burst < BURSTS_PER_TURN; burst++) if (this.turn()) return
  }

  #count(time: number): void {
    this.#frames++
    this.#bytes += this.#packet.length
    this.#tracker.see(this.#tag.sequence)
    const sent = this.#tag.sentNanoseconds
    if (sent !== 0) this.#latency.record(time - sent)
  }

  get #dropped(): number {
    return this.#sockets.reduce((sum, socket) => sum + socket.statistics().receiveDropped, 0)
  }

  answer(): SinkAnswer {
    const { duplicates, reordered, reorderExtent, highest } = this.#tracker
    return {
      nanoseconds: Math.round(monotonicNanoseconds()),
      frames: this.#frames,
      bytes: this.#bytes,
      others: this.#others,
      dropped: this.#dropped - this.#droppedBefore,
      duplicates,
      reordered,
      reorderExtent,
      highest,
      latencySum: Math.round(this.#latency.sum),
      latencyMin: Math.round(this.#latency.min),
      latencyMax: Math.round(this.#latency.max),
      histogram: this.#latency.buckets(),
    }
  }

  reset(): void {
    this.#frames = 0
    this.#bytes = 0
    this.#others = 0
    this.#droppedBefore = this.#dropped
    this.#tracker.reset()
    this.#latency.reset()
  }

  close(): void {
    this.#program.detach()
    this.#poller.close()
    this.#umem.close()
  }
}

const [device = '', flows = '1'] = process.argv.slice(2)
const index = deviceIndex(device)
const sink = new XskSink(device, Number(flows))
let isOpen = true
const input = createInterface({ input: process.stdin })
input.on('line', (line) => {
  if (deviceIndex(device) !== index) {
    console.error(`sink: ${device}, expected a device that stays: it went away`)
    process.exit(1)
  }
  sink.catchUp()
  if (line === 'reset') sink.reset()
  console.log(JSON.stringify(sink.answer()))
})
input.on('close', () => {
  isOpen = false
})
console.log('ready')
while (isOpen) {
  for (let turn = 0; turn < BURSTS_PER_TURN; turn++) {
    if (!sink.turn()) continue
    sink.wait()
    break
  }
  await new Promise(setImmediate)
}
sink.close()
