/**
 * A TCP and UDP server that tells each client how it sees it, "address:port" and a line end, and
 * sends back what else it gets. Arguments: address, port.
 */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

const [address = '', port = ''] = process.argv.slice(2)

const udp = createSocket('udp4')
udp.on('message', (_message, from) => {
  udp.send(`${from.address}:${from.port}\n`, from.port, from.address)
})
const tcp = createServer((socket) => {
  socket.on('error', () => socket.destroy())
  socket.write(`${socket.remoteAddress}:${socket.remotePort}\n`)
  socket.pipe(socket)
})
udp.bind(Number(port), address, () => {
  tcp.listen({ host: address, port: Number(port), backlog: 1024 }, () => {
    process.stdout.write('listening\n')
  })
})
