// Sends every frame back where it came from, with the MAC addresses swapped. Run as root:
//   node echo.mjs <device>
// All frames of the device come here while it runs: do not use it on the device you are logged in
// by.
import {
  BURST_HEADER_WORDS,
  BurstWord,
  deviceInfo,
  Poller,
  Umem,
  XdpProgram,
  XdpSocket,
} from 'xdp-socket-napi'

const BURST = 64
const MAC_BYTES = 6
const WAIT_MILLISECONDS = 100

const device = process.argv[2]
if (device === undefined) {
  console.error('usage: node echo.mjs <device>')
  process.exit(2)
}
const umem = new Umem({ frameCount: 4096 })
const bytes = new Uint8Array(umem.buffer)
const words = new Int32Array(BURST_HEADER_WORDS + 3 * BURST)
const starts = words.subarray(BURST_HEADER_WORDS, BURST_HEADER_WORDS + BURST)
const poller = new Poller({ umem, burstWords: words })
const program = XdpProgram.attach({ device, mode: 'pod' })
const sockets = []
const queues = Math.max(deviceInfo(device).receiveQueues, 1)
for (let queue = 0; queue < queues; queue++) {
  const socket = new XdpSocket({ umem, device, queue })
  poller.addSocket(socket, 0)
  program.setSocket(queue, socket)
  sockets.push(socket)
  console.log(`${device} queue ${queue}: ${socket.mode} ${socket.modeReason}`)
}
console.log(`${program.attachMode} XDP on ${device}; Ctrl-C ends`)

let running = true
process.once('SIGINT', () => (running = false))
process.once('SIGTERM', () => (running = false))

function burst() {
  const count = poller.exchange(BURST)
  for (let i = 0; i < count; i++) {
    const start = starts[i]
    for (let byte = 0; byte < MAC_BYTES; byte++) {
      const other = bytes[start + byte]
      bytes[start + byte] = bytes[start + MAC_BYTES + byte]
      bytes[start + MAC_BYTES + byte] = other
    }
    // ports[i] is still the port it came in by: the next exchange sends it there.
  }
  return count
}

while (running) {
  for (let i = 0; i < 256; i++) if (burst() === 0 && !poller.wait(WAIT_MILLISECONDS)) break
  await new Promise(setImmediate) // let the signal handlers run
}
program.detach()
for (const socket of sockets) {
  const seen = socket.statistics()
  console.log(`received ${seen.receivedFrames} sent ${seen.sentFrames} dropped ${seen.sendDropped}`)
}
console.log(`frames dropped in the last exchange: ${words[BurstWord.DROPPED]}`)
poller.close()
umem.close()
