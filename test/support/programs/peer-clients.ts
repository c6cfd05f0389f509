/**
 * Many TCP clients of a peer-server that stay connected. Arguments: address, port, connections.
 * Prints `{ opened, peers }`, the latter as the server sees them, when all that will be are
 * connected; for each line of input afterwards it sends some bytes on every connection and prints
 * `{ intact }`, on how many the same came back.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

const [host = '', port = '', connections = ''] = process.argv.slice(2)
const PATIENCE_MILLISECONDS = 5000

interface Client {
  readonly socket: Socket
  readonly peer: string
  received: string
}

async function open(): Promise<Client | undefined> {
  const socket = connect({ host, port: Number(port), timeout: PATIENCE_MILLISECONDS })
  socket.on('timeout', () => socket.destroy())
  socket.setEncoding('latin1')
  try {
    const [greeting] = (await once(socket, 'data')) as [string]
    socket.setTimeout(0)
    const client: Client = { socket, peer: greeting.trim(), received: '' }
    socket.on('data', (text: string) => {
      client.received += text
    })
    socket.on('error', () => socket.destroy())
    return client
  } catch {
    return undefined
  }
}

async function isIntact(client: Client, payload: string): Promise<boolean> {
  client.received = ''
  client.socket.write(payload)
  const deadline = Date.now() + PATIENCE_MILLISECONDS
  while (client.received.length < payload.length && Date.now() < deadline) {
    if (client.socket.destroyed) return false
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return client.received === payload
}

const tell = (report: object) => process.stdout.write(`${JSON.stringify(report)}\n`)

const tries = await Promise.all(Array.from({ length: Number(connections) }, open))
const clients = tries.filter((client) => client !== undefined)
tell({ opened: clients.length, peers: clients.map((client) => client.peer) })
for await (const _line of createInterface({ input: process.stdin })) {
  const payloads = clients.map((client, i) => `${i} ${client.peer} `.repeat(20))
  const intact = await Promise.all(clients.map((c, i) => isIntact(c, payloads[i] ?? '')))
  tell({ intact: intact.filter(Boolean).length })
}
