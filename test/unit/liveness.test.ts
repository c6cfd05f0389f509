/** What an agent hears of a datapath that is not its child, however the lines come in. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  type DatapathHello,
  DatapathLink,
  LivenessServer,
  socketPath,
} from '../../src/daemon/liveness.js'

const VERSION = '1.2.3'

/** Of a short name: a socket's path has room for some hundred characters. */
function stateDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'rp-live-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

t.test('a datapath that becomes ready, hands over and ends', async (t) => {
  const directory = stateDirectory()
  const server = new LivenessServer(directory, VERSION)
  const link = await DatapathLink.connect(directory)
  if (link === undefined) throw new Error('nobody was there')
  t.equal(link.pid, process.pid)
  t.equal(link.version, VERSION)
  server.ready()
  t.equal(await link.ready, true)
  server.handedOver(4711)
  await server.close()
  await link.gone
  t.equal(link.successor, 4711)
})

t.test('one that ends before is not ready', async (t) => {
  const directory = stateDirectory()
  const server = new LivenessServer(directory, VERSION)
  const link = await DatapathLink.connect(directory)
  await server.close()
  t.equal(await link?.ready, false)
})

t.test('nobody is there', async (t) => {
  t.equal(await DatapathLink.connect(stateDirectory()), undefined)
})

t.test('all that it says may come in one piece, to an agent that was busy', async (t) => {
  const directory = stateDirectory()
  const first: DatapathHello = { pid: 17, version: VERSION, isReady: false }
  const hellos = [first, { ...first, isReady: true }, { ...first, isReady: true, successor: 18 }]
  const text = hellos.map((hello) => `${JSON.stringify(hello)}\n`).join('')
  const server = createServer((client) => client.end(text))
  t.after(() => server.close())
  await new Promise<void>((resolve) => server.listen(socketPath(directory), resolve))
  const link = await DatapathLink.connect(directory)
  t.equal(link?.pid, 17)
  t.equal(await link?.ready, true)
  await link?.gone
  t.equal(link?.successor, 18)
})
