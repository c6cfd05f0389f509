/**
 * Sends frames of any content out of a device of this namespace over AF_XDP. Arguments: device; the
 * frames come as lines of hex on the standard input.
 */
import { readFileSync } from 'node:fs'
import { BURST_HEADER_WORDS, Poller, Umem, XdpSocket } from 'xdp-socket-napi'

const [device = ''] = process.argv.slice(2)
const CAPACITY = 64
const frames = readFileSync(0, 'utf8').split('\n').filter(Boolean)

const umem = new Umem({ frameCount: 1024 })
const socket = new XdpSocket({ umem, device, queue: 0, fillTarget: 1 })
const burst = new Int32Array(BURST_HEADER_WORDS + 3 * CAPACITY)
const poller = new Poller({ umem, ports: [[socket]], burstWords: burst })
const bytes = new Uint8Array(umem.buffer)

let sent = 0
for (const frame of frames) {
  const content = Buffer.from(frame, 'hex')
  const free = umem.poolWords[0] as number
  const start = umem.poolWords[free] as number
  umem.poolWords[0] = free - 1
  bytes.set(content, start)
  burst[BURST_HEADER_WORDS] = start
  burst[BURST_HEADER_WORDS + CAPACITY] = content.length
  burst[BURST_HEADER_WORDS + 2 * CAPACITY] = 0
  burst[0] = 1
  poller.exchange(0)
  sent++
}
poller.close()
umem.close()
console.log(JSON.stringify({ sent }))
