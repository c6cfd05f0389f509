/**
 * A paced stream of UDP packets and their echoes, to see for how long nothing comes through.
 * Arguments: `serve` or `send`, address, port. The sender sends a packet each millisecond until its
 * input ends, tells the longest time between two echoes for each line that it is given, and prints
 * one line of JSON at the end (PacedReport).
 */
import { createSocket } from 'node:dgram'

export interface PacedReport {
  readonly sent: number
  readonly received: number
}

const [role = '', address = '', port = ''] = process.argv.slice(2)
const NUMBER_BYTES = 8
/** Some seconds of packets find room while this process has no processor. */
const RECEIVE_BYTES = 4 << 20
/** For the last echoes. */
const LINGER_MILLISECONDS = 500

function serve(): void {
  const socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BYTES })
  socket.on('message', (message, from) => socket.send(message, from.port, from.address))
  socket.bind(Number(port), address, () => process.stdout.write('listening\n'))
}

function send(): void {
  const socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BYTES })
  let sent = 0
  let received = 0
  let last = 0
  let gapMilliseconds = 0
  socket.on('message', () => {
    const now = performance.now()
    if (received > 0) gapMilliseconds = Math.max(gapMilliseconds, now - last)
    last = now
    received++
  })
  const packet = Buffer.alloc(NUMBER_BYTES)
  socket.connect(Number(port), address, () => {
    const timer = setInterval(() => {
      packet.writeUInt32BE(sent++)
      socket.send(packet)
    }, 1)
    const report = (): void => {
      const all: PacedReport = { sent, received }
      process.stdout.write(`${JSON.stringify(all)}\n`)
      socket.close()
    }
    process.stdin.on('data', () => {
      // One that goes on counts, too.
      const longest = Math.max(gapMilliseconds, performance.now() - last)
      process.stdout.write(`gap ${longest.toFixed(1)}\n`)
      gapMilliseconds = 0
    })
    process.stdin.on('end', () => {
      clearInterval(timer)
      setTimeout(report, LINGER_MILLISECONDS)
    })
    process.stdout.write('sending\n')
  })
}

if (role === 'serve') serve()
else send()
