/**
 * Stands in for everything behind a device of this namespace: sends the frames that come as lines of
 * hex, prints each one that arrives as `got <hex>`. The kernel behind the device sees none of them.
 * Argument: device.
 */
import { createInterface } from 'node:readline'
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises'
import { Burst, NO_PORT } from '../../../src/packet/burst.js'
import { NO_FRAME } from '../../../src/packet/frame-pool.js'
import { XskExchange } from '../../../src/port/xsk-exchange.js'

const [device = ''] = process.argv.slice(2)
const WAIT_MILLISECONDS = 2
const RECEIVE_MAX = 32
const HEADROOM = 256

const exchange = new XskExchange({ frameCount: 1024 })
exchange.attach(0, device, 'pod')
const burst = new Burst(64)
const bytes = new Uint8Array(exchange.umem)
const waiting: Buffer[] = []

function append(frame: Buffer): void {
  const start = exchange.pool.take()
  if (start === NO_FRAME) throw new Error('the pool is empty')
  bytes.set(frame, start + HEADROOM)
  burst.starts[burst.count] = start + HEADROOM
  burst.lengths[burst.count] = frame.length
  burst.ports[burst.count] = 0
  burst.count++
}

createInterface({ input: process.stdin }).on('line', (line) => {
  waiting.push(Buffer.from(line, 'hex'))
})
exchange.exchange(burst, 0)
console.log('ready')
for (;;) {
  const received = exchange.exchange(burst, RECEIVE_MAX)
  for (let i = 0; i < received; i++) {
    const start = burst.starts[i] as number
    const frame = bytes.slice(start, start + (burst.lengths[i] as number))
    console.log(`got ${Buffer.from(frame).toString('hex')}`)
    burst.ports[i] = NO_PORT
  }
  const frame = waiting.shift()
  if (frame !== undefined) append(frame)
  if (received === 0 && frame === undefined) exchange.wait(WAIT_MILLISECONDS)
  await turnOfTheEventLoop()
}
