/**
 * Sends malformed transport headers from this namespace with the `raw-socket` package, which fills
 * in the IP header itself. Arguments: target address, number of rounds.
 */
import raw, { type Socket } from 'raw-socket'

const [target = '', rounds = '1'] = process.argv.slice(2)

/** Protocol and payload: headers cut short, lengths that lie, protocols that nobody tracks. */
const MALFORMED: readonly (readonly [number, Buffer])[] = [
  [6, Buffer.alloc(3)],
  [6, Buffer.alloc(19, 0xff)],
  [17, Buffer.from([0, 53, 0, 53, 0, 3, 0, 0])],
  [17, Buffer.alloc(5)],
  [1, Buffer.alloc(2)],
  [253, Buffer.from('nobody tracks this')],
]

const sockets = new Map<number, Socket>()
let sent = 0

async function send(protocol: number, payload: Buffer): Promise<void> {
  let socket = sockets.get(protocol)
  if (socket === undefined) {
    socket = raw.createSocket({ protocol })
    sockets.set(protocol, socket)
  }
  const used = socket
  await new Promise<void>((resolve, reject) => {
    used.send(payload, 0, payload.length, target, (error) => {
      // The package calls from outside of Node's event loop: what waits for a promise alone goes on only
      // when something else happens (Node 26).
      setImmediate(() => (error ? reject(error) : resolve()))
    })
  })
  sent++
}

for (let round = 0; round < Number(rounds); round++) {
  for (const [protocol, payload] of MALFORMED) await send(protocol, payload)
}
for (const socket of sockets.values()) socket.close()
console.log(JSON.stringify({ sent }))
