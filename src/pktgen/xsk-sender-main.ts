/**
 * Sends frames through an AF_XDP socket, as a program: the first line of its input is SendOptions as
 * JSON. It prints "ready", then for each further line one line of JSON (SendReport); the end of the
 * input, or the spec's count or time, ends it, and it prints such a line as its last.
 *
 * A turn of the loop writes a burst and hands it over in one native call. Node's event loop gets its
 * turn every few bursts, for the input.
 */
import '../base/sure-exit.js'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  BURST_HEADER_WORDS,
  BurstWord,
  KERNEL_HEADROOM_BYTES,
  NO_PORT,
  Poller,
  Umem,
  XdpSocket,
} from 'xdp-socket-napi'
import { PacketBuffer } from '../packet/packet-buffer.js'
import { FrameWriter } from './frame-writer.js'
import { monotonicNanoseconds } from './monotonic.js'
import { planOf } from './plan.js'
import { Pacer } from './rate.js'
import type { SendOptions, SendReport } from './sender.js'

const FRAME_COUNT = 4_096
const BURST = 32
/** Before Node's event loop gets its turn. */
const BURSTS_PER_TURN = 256
const NANOSECONDS = 1e9
const TWO_TO_32 = 0x1_0000_0000
/** What waits on the ring already has its time of sending written: no more than two bursts may. */
const WAITING_MAX = 2 * BURST
/** For the device to take what waits, when the machine is busy. */
const DRAIN_MILLISECONDS = 1_000

class XskSender {
  readonly #options: SendOptions
  readonly #umem = new Umem({ frameCount: FRAME_COUNT })
  readonly #words = new Int32Array(BURST_HEADER_WORDS + 3 * BURST)
  readonly #starts = this.#words.subarray(BURST_HEADER_WORDS)
  readonly #lengths = this.#words.subarray(BURST_HEADER_WORDS + BURST)
  readonly #ports = this.#words.subarray(BURST_HEADER_WORDS + 2 * BURST)
  readonly #packet = new PacketBuffer(this.#umem.buffer, this.#umem.strideBytes)
  readonly #pacer = new Pacer()
  readonly #socket: XdpSocket
  readonly #poller: Poller
  readonly #writer: FrameWriter
  readonly #limit: number
  /** Lengths of the last frames, by their number: those that the device has not taken. */
  readonly #lastLengths = new Int32Array(WAITING_MAX)
  #bytes = 0
  #first = 0
  #last = 0
  isStopped = false

  constructor(options: SendOptions) {
    const { device, queue, spec } = options
    this.#options = options
    this.#writer = new FrameWriter(planOf(spec))
    this.#limit = spec.frames === 0 ? Number.POSITIVE_INFINITY : spec.frames
    this.#socket = new XdpSocket({ umem: this.#umem, device, queue, fillTarget: 1 })
    this.#poller = new Poller({
      umem: this.#umem,
      burstWords: this.#words,
      ports: [[this.#socket]],
    })
  }

  async run(): Promise<void> {
    const seconds = this.#options.spec.seconds
    const duration = seconds === 0 ? Number.POSITIVE_INFINITY : seconds * NANOSECONDS
    while (!this.isStopped && this.#writer.frames < this.#limit) {
      for (let turn = 0; turn < BURSTS_PER_TURN; turn++) this.#sendBurst(monotonicNanoseconds())
      if (this.#first !== 0 && monotonicNanoseconds() - this.#first >= duration) break
      await new Promise(setImmediate)
    }
    await this.#drain()
  }

  #sendBurst(time: number): void {
    const pool = this.#umem.poolWords
    const { hasTimestamps } = this.#options.spec
    const high = hasTimestamps ? Math.floor(time / TWO_TO_32) : 0
    const low = hasTimestamps ? (time - high * TWO_TO_32) | 0 : 0
    let count = 0
    const room = Math.max(0, WAITING_MAX - this.#waiting)
    const most = Math.min(BURST, room)
    while (count < most && this.#writer.frames < this.#limit && (pool[0] as number) > 0) {
      if (!this.#pacer.isDue(this.#writer.next.interval, time)) break
      const free = pool[0] as number
      const start = (pool[free] as number) + KERNEL_HEADROOM_BYTES
      pool[0] = free - 1
      this.#packet.attach(start, 0)
      this.#writer.write(this.#packet, high, low)
      this.#starts[count] = start
      this.#lengths[count] = this.#packet.length
      this.#ports[count++] = 0
      this.#lastLengths[this.#writer.frames % WAITING_MAX] = this.#packet.length
      this.#bytes += this.#packet.length
    }
    if (count > 0) {
      if (this.#first === 0) this.#first = time
      this.#last = time
    }
    this.#exchange(count)
  }

  #exchange(count: number): void {
    this.#words[BurstWord.COUNT] = count
    this.#ports.fill(NO_PORT, 0, this.#poller.exchange(BURST))
  }

  /** Frames on the ring, which the device has not taken. */
  get #waiting(): number {
    return this.#words[BurstWord.UNSENT] as number
  }

  /** What still waits on the ring is on its way, not lost; in the end, what does was not sent. */
  async #drain(): Promise<void> {
    const end = performance.now() + DRAIN_MILLISECONDS
    this.#exchange(0)
    while (this.#waiting > 0 && performance.now() < end) {
      await sleep(1)
      this.#exchange(0)
    }
  }

  report(): SendReport {
    const frames = this.#writer.frames
    const sent = frames - this.#waiting
    let bytes = this.#bytes
    for (let n = sent + 1; n <= frames; n++) bytes -= this.#lastLengths[n % WAITING_MAX] as number
    return {
      frames: sent,
      bytes,
      firstNanoseconds: Math.round(this.#first),
      lastNanoseconds: Math.round(this.#last),
      nowNanoseconds: Math.round(monotonicNanoseconds()),
      timesBehind: this.#pacer.timesBehind,
    }
  }

  close(): void {
    this.#poller.close()
    this.#umem.close()
  }
}

const input = createInterface({ input: process.stdin })
let sender: XskSender | undefined
const tell = (from: XskSender): void => console.log(JSON.stringify(from.report()))

async function begin(options: SendOptions): Promise<void> {
  sender = new XskSender(options)
  console.log('ready')
  await sender.run()
  tell(sender)
  sender.close()
  process.exit(0)
}

input.on('line', (line) => {
  if (sender !== undefined) {
    tell(sender)
    return
  }
  begin(JSON.parse(line) as SendOptions).catch((error: Error) => {
    console.error(error.message)
    process.exit(1)
  })
})
input.on('close', () => {
  if (sender !== undefined) sender.isStopped = true
})
