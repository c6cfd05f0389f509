/**
 * A paced stream of UDP packets and their echoes, to see for how long nothing comes through.
 * Arguments: `serve` address port; or `send` address port seconds. The sender sends a packet each
 * millisecond, tells the longest time between two echoes for each line that it is given, and prints
 * one line of JSON at the end (PacedReport).
 */
import { createSocket } from 'node:dgram'

export interface PacedReport {
  readonly sent: number
  readonly received: number
}

const [role = '', address = '', port = '', seconds = ''] = process.argv.slice(2)
const NUMBER_BYTES = 8
/** For the last echoes. */
const LINGER_MILLISECONDS = 500

function serve(): void {
  const socket = createSocket('udp4')
  socket.on('message', (message, from) => socket.send(message, from.port, from.address))
  socket.bind(Number(port), address, () => process.stdout.write('listening\n'))
}

function send(): void {
  const socket = createSocket('udp4')
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
    process.stdin.on('data', () => {
      process.stdout.write(`gap ${gapMilliseconds.toFixed(1)}\n`)
      gapMilliseconds = 0
    })
    process.stdout.write('sending\n')
    setTimeout(() => {
      clearInterval(timer)
      setTimeout(() => {
        const report: PacedReport = { sent, received }
        process.stdout.write(`${JSON.stringify(report)}\n`)
        socket.close()
        process.stdin.destroy()
      }, LINGER_MILLISECONDS)
    }, Number(seconds) * 1000)
  })
}

if (role === 'serve') serve()
else send()
