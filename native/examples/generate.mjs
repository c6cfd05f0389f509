// Sends frames from a device at a rate. Run as root:
//   node generate.mjs <device> [frames] [frames per second] [bytes]
// They have the local experimental EtherType 0x88b5, so that no stack answers them.
import { BURST_HEADER_WORDS, BurstWord, NO_PORT, Poller, Umem, XdpSocket } from 'xdp-socket-napi'

const BURST = 64
const PACKET_OFFSET = 256

const [device, ...numbers] = process.argv.slice(2)
const [frames = 1_000_000, framesPerSecond = Number.POSITIVE_INFINITY, frameBytes = 60] =
  numbers.map(Number)
if (device === undefined || !(frameBytes >= 60)) {
  console.error('usage: node generate.mjs <device> [frames] [frames per second] [bytes, from 60]')
  process.exit(2)
}

const umem = new Umem({ frameCount: 4096 })
const bytes = new Uint8Array(umem.buffer)
const pool = umem.poolWords
const burst = new Int32Array(BURST_HEADER_WORDS + 3 * BURST)
const column = (n) => burst.subarray(BURST_HEADER_WORDS + n * BURST)
const [starts, lengths, ports] = [column(0), column(1), column(2)]
const socket = new XdpSocket({ umem, device, queue: 0, fillTarget: 1 })
const poller = new Poller({ umem, burstWords: burst, ports: [[socket]] })
console.log(`${device}: ${socket.mode} ${socket.modeReason}`)

// Each frame is written once: sending does not change it.
for (let frame = 0; frame < umem.frameCount; frame++) {
  const start = frame * umem.strideBytes + PACKET_OFFSET
  bytes.fill(0xff, start, start + 6)
  bytes.set([2, 0, 0, 0, 0, 1, 0x88, 0xb5], start + 6)
}

const began = process.hrtime.bigint()
const secondsSince = () => Number(process.hrtime.bigint() - began) / 1e9
let running = true
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => (running = false))
let sent = 0
let turns = 0
while (running && sent < frames) {
  const due = Math.min(secondsSince() * framesPerSecond, frames)
  let count = 0
  while (count < BURST && sent < due && pool[0] > 0) {
    starts[count] = pool[pool[0]--] + PACKET_OFFSET
    lengths[count] = frameBytes
    ports[count++] = 0
    sent++
  }
  burst[BurstWord.COUNT] = count
  const received = poller.exchange(BURST)
  ports.fill(NO_PORT, 0, received)
  if ((++turns & 0xff) === 0) await new Promise(setImmediate) // let the signal handlers run
}
const seconds = secondsSince()
const { sentFrames, sendDropped, kickErrors } = socket.statistics()
poller.close()
umem.close()
const rate = Math.round(sentFrames / seconds)
console.log(`${sentFrames} sent, ${sendDropped} dropped, ${kickErrors} kicks failed, ${rate}/s`)
