/**
 * A two-port hub over XskExchange, run inside a namespace by port-xsk.test.ts: each frame leaves by
 * the other port. Commands come in lines (detach, attach, counters, lost, stop), answers go out as
 * lines of JSON.
 */
import { createInterface } from 'node:readline'
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Burst } from '../../src/packet/burst.js'
import { assertConserved } from '../../src/port/conservation.js'
import { XskExchange } from '../../src/port/xsk-exchange.js'

const FRAMES = 512
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

const exchange = new XskExchange({ frameCount: FRAMES })
const burst = new Burst(64)
const queues = [exchange.attach(0, 'left', 'pod'), exchange.attach(1, 'right', 'pod')]

/** What the attempt throws, as codes. */
function failure(attempt: () => unknown): object {
  try {
    attempt()
    return { code: 'none' }
  } catch (error) {
    const { code, message, cause } = error as { code: string; message: string; cause?: object }
    return { code, message, cause: cause !== undefined && 'code' in cause ? cause.code : '' }
  }
}

/** Milliseconds that a long wait took, which a worker thread ended. */
async function wakeFromThread(): Promise<number> {
  const native = import.meta.resolve('xdp-socket-napi')
  const source = `import('${native}').then((native) => {
    setTimeout(() => native.wakePoller(${exchange.wakeFd}), 100)
  })`
  const worker = new Worker(source, { eval: true })
  const begin = Date.now()
  // Frames of the namespaces' own may end the wait as well.
  let waited = 0
  while (waited < 100) {
    exchange.wait(10_000)
    exchange.exchange(burst)
    waited = Date.now() - begin
  }
  await worker.terminate()
  return waited
}

function hub(): void {
  for (let i = 0; i < burst.count; i++) burst.ports[i] = 1 - burst.ports[i]
  exchange.exchange(burst)
  assertConserved(exchange, burst)
}

let isRunning = true
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'detach') exchange.detach(1)
  if (line === 'attach') exchange.attach(1, 'right', 'pod')
  if (line === 'stop') isRunning = false
  say({
    did: line,
    counters: [exchange.statistics(0), exchange.statistics(1)],
    names: exchange.portNames,
    lost: exchange.lostPorts(),
    inBurst: burst.count,
  })
})

exchange.exchange(burst, 0)
assertConserved(exchange, burst)
say({
  did: 'start',
  queues,
  refused: {
    missing: failure(() => exchange.attach(2, 'missing', 'pod')),
    occupied: failure(() => exchange.attach(0, 'right', 'pod')),
    twice: failure(() => exchange.attach(2, 'right', 'pod')),
    range: failure(() => exchange.attach(100_000, 'right', 'pod')),
  },
  wokenAfterMilliseconds: await wakeFromThread(),
})
while (isRunning) {
  hub()
  if (burst.count === 0) exchange.wait(5)
  await turnOfTheEventLoop()
}
exchange.close()
exchange.close()
say({
  did: 'close',
  free: exchange.pool.freeCount,
  total: FRAMES,
  onRings: exchange.framesOnRings,
  counters: [exchange.statistics(0), exchange.statistics(1)],
})
process.exit(0)
