/**
 * Two devices of the test's own namespace in one poller, and frames to send between them. Import
 * native-namespace first.
 */
import {
  BURST_HEADER_WORDS,
  BurstWord,
  NO_PORT,
  Poller,
  Umem,
  XdpProgram,
  XdpSocket,
  type XdpSocketOptions,
} from 'xdp-socket-napi'

export const FRAMES = 1024
export const BURST = 64
export const FRAME_BYTES = 60
const HEADROOM = 256
const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
const NO_MAC = [0, 0, 0, 0, 0, 0]

/** `rpx0` is port 0 and `rpx1` port 1, on queue 0 unless told; every frame comes to us. */
export class Lab {
  readonly umem = new Umem({ frameCount: FRAMES })
  readonly bytes = new Uint8Array(this.umem.buffer)
  readonly words = new Int32Array(BURST_HEADER_WORDS + 3 * BURST)
  readonly poller = new Poller({ umem: this.umem, burstWords: this.words })
  readonly sockets: XdpSocket[] = []
  readonly programs: XdpProgram[] = []

  constructor(options: Partial<XdpSocketOptions> = {}) {
    for (const [port, device] of ['rpx0', 'rpx1'].entries()) {
      const program = XdpProgram.attach({ device, mode: 'pod' })
      const socket = new XdpSocket({ umem: this.umem, device, queue: 0, ...options })
      this.poller.addSocket(socket, port)
      program.setSocket(0, socket)
      this.programs.push(program)
      this.sockets.push(socket)
    }
  }

  column(n: 0 | 1 | 2): Int32Array {
    const start = BURST_HEADER_WORDS + n * BURST
    return this.words.subarray(start, start + BURST)
  }

  get count(): number {
    return this.words[BurstWord.COUNT] as number
  }

  /** Appends a frame to the burst: broadcast, the local experimental EtherType, `mark` after it. */
  append(port: number, mark: number): void {
    this.appendFrame(port, [...BROADCAST, ...NO_MAC, 0x88, 0xb5, mark >> 8, mark & 0xff])
  }

  /** Appends these bytes, with zeros behind when they are less than a frame's minimum. */
  appendFrame(port: number, frame: ArrayLike<number>): void {
    const pool = this.umem.poolWords
    const free = pool[0] as number
    if (free === 0) throw new Error('the pool is empty')
    const start = (pool[free] as number) + HEADROOM
    pool[0] = free - 1
    const length = Math.max(frame.length, FRAME_BYTES)
    this.bytes.fill(0, start, start + length)
    this.bytes.set(frame, start)
    const i = this.count
    this.column(0)[i] = start
    this.column(1)[i] = length
    this.column(2)[i] = port
    this.words[BurstWord.COUNT] = i + 1
  }

  /** Exchanges and frees what came; returns the marks of our frames by the port they came in by. */
  take(receiveMax = BURST): [port: number, mark: number][] {
    const count = this.poller.exchange(receiveMax)
    const seen: [number, number][] = []
    for (let i = 0; i < count; i++) {
      const start = this.column(0)[i] as number
      if (this.bytes[start + 12] === 0x88 && this.bytes[start + 13] === 0xb5) {
        const mark = ((this.bytes[start + 14] as number) << 8) | (this.bytes[start + 15] as number)
        seen.push([this.column(2)[i] as number, mark])
      }
      this.column(2)[i] = NO_PORT
    }
    return seen
  }

  get total(): number {
    return (this.umem.poolWords[0] as number) + this.count + this.poller.framesOnRings
  }

  close(): void {
    for (const program of this.programs) program.detach()
    this.poller.close()
    this.umem.close()
  }
}
