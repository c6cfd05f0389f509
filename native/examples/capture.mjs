// Prints what arrives at a device: one line per frame, or its bytes with --hex. Run as root:
//   node capture.mjs <device> [frames] [--hex]
// The frames come here instead of to the kernel: it is a tap for a device of your own, not tcpdump.
import {
  BURST_HEADER_WORDS,
  deviceInfo,
  NO_PORT,
  Poller,
  Umem,
  XdpProgram,
  XdpSocket,
} from 'xdp-socket-napi'

const BURST = 64
const HEX_BYTES_A_LINE = 16
const WAIT_MILLISECONDS = 100

const words = process.argv.slice(2).filter((word) => word !== '--hex')
const asHex = process.argv.includes('--hex')
const device = words[0]
const framesWanted = Number(words[1] ?? 10)
if (device === undefined || !Number.isInteger(framesWanted)) {
  console.error('usage: node capture.mjs <device> [frames] [--hex]')
  process.exit(2)
}

const umem = new Umem({ frameCount: 2048 })
const bytes = Buffer.from(umem.buffer)
const burst = new Int32Array(BURST_HEADER_WORDS + 3 * BURST)
const column = (n) => burst.subarray(BURST_HEADER_WORDS + n * BURST)
const [starts, lengths, ports] = [column(0), column(1), column(2)]
const poller = new Poller({ umem, burstWords: burst })
const program = XdpProgram.attach({ device, mode: 'pod' })
for (let queue = 0; queue < Math.max(deviceInfo(device).receiveQueues, 1); queue++) {
  const socket = new XdpSocket({ umem, device, queue })
  poller.addSocket(socket, queue)
  program.setSocket(queue, socket)
}

const mac = (at) => bytes.toString('hex', at, at + 6).replace(/(..)(?!$)/g, '$1:')
const type = (at) =>
  bytes
    .readUInt16BE(at + 12)
    .toString(16)
    .padStart(4, '0')

function print(start, length, queue) {
  console.log(
    `${mac(start + 6)} > ${mac(start)} type ${type(start)} ${length} bytes queue ${queue}`,
  )
  for (let at = 0; asHex && at < length; at += HEX_BYTES_A_LINE) {
    const line = bytes.toString('hex', start + at, start + Math.min(at + HEX_BYTES_A_LINE, length))
    console.log(`  ${at.toString(16).padStart(4, '0')}  ${line.replace(/(..)/g, '$1 ')}`)
  }
}

let running = true
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => (running = false))
let seen = 0
while (running && seen < framesWanted) {
  const count = poller.exchange(BURST)
  for (let i = 0; i < count; i++) {
    if (seen++ < framesWanted) print(starts[i], lengths[i], ports[i])
    ports[i] = NO_PORT
  }
  if (count === 0) {
    poller.wait(WAIT_MILLISECONDS)
    await new Promise(setImmediate) // let the signal handlers run
  }
}
program.detach()
poller.close()
umem.close()
