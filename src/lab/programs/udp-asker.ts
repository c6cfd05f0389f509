/**
 * Sends its input as one UDP datagram, and prints the first that comes back; nothing when none does in
 * time. Arguments: address, port, seconds.
 */
import { createSocket } from 'node:dgram'
import { buffer } from 'node:stream/consumers'

const [address = '', port = '', seconds = ''] = process.argv.slice(2)

const question = await buffer(process.stdin)
const socket = createSocket('udp4')
const timer = setTimeout(() => socket.close(), Number(seconds) * 1000)
socket.once('message', (answer) => {
  clearTimeout(timer)
  process.stdout.write(answer)
  socket.close()
})
// The port is refused, or there is no way: nothing comes back then either.
socket.once('error', () => undefined)
socket.connect(Number(port), address, () => socket.send(question))
