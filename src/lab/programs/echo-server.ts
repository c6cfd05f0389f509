/**
 * A TCP server that sends back what it receives, for many connections at once. Arguments: address,
 * port.
 */
import { createServer } from 'node:net'

const [address, port] = process.argv.slice(2)
// Half-open allowed: the client closes its side first, and still gets all of its bytes back.
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => socket.destroy())
  socket.pipe(socket)
})
server.listen({ host: address, port: Number(port), backlog: 1024 }, () => {
  process.stdout.write('listening\n')
})
