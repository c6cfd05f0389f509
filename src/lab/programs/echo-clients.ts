/**
 * Many TCP clients of an echo server at once: each opens its connection, waits until all are open,
 * sends its own bytes, and checks that the same come back. Arguments: address, port, connections,
 * bytes of each. Prints one line of JSON (EchoReport).
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const [address = '', port = '', connections = '', bytes = ''] = process.argv.slice(2)

/** Different for each client, so that a byte delivered to another connection is noticed. */
function payloadOf(client: number): Buffer {
  const seed = createHash('sha256').update(`client ${client}`).digest()
  return Buffer.alloc(Number(bytes), seed)
}

async function open(): Promise<Socket | undefined> {
  const socket = connect({ host: address, port: Number(port) })
  try {
    await once(socket, 'connect')
    return socket
  } catch {
    return undefined
  }
}

async function exchange(socket: Socket, client: number): Promise<boolean> {
  const payload = payloadOf(client)
  const received: Buffer[] = []
  socket.end(payload)
  try {
    for await (const chunk of socket) received.push(chunk as Buffer)
  } catch {
    return false
  }
  return Buffer.concat(received).equals(payload)
}

const sockets = await Promise.all(Array.from({ length: Number(connections) }, () => open()))
const opened = sockets.filter((socket) => socket !== undefined)
const intact = await Promise.all(opened.map((socket, client) => exchange(socket, client)))
const report = { opened: opened.length, intact: intact.filter((isIntact) => isIntact).length }
process.stdout.write(`${JSON.stringify(report)}\n`)
