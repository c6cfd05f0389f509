/** The ports' counters in shared memory: a port in a step, each ten times a second. */
import t from 'tap'
import { VirtualClock } from '../../src/base/clock.js'
import { PORTS_MAX } from '../../src/base/limits.js'
import { StatisticsPublisher } from '../../src/engine/statistics-publisher.js'
import { Burst } from '../../src/packet/burst.js'
import { DetachedCounts } from '../../src/port/detached-counts.js'
import { MemoryPort } from '../../src/port/memory-port.js'
import { type FrameExchange, NOTHING_COUNTED } from '../../src/port/port.js'
import { PORT_STATISTICS_CELLS, readPortStatistics } from '../../src/port/port-statistics.js'
import { SoftwareExchange } from '../../src/port/software-exchange.js'

const PORTS = 4
const QUARTER = 250_000_000

/** An exchange with ports 0, 2 and 3, each of which says how often it was asked. */
function counted() {
  const asked = [0, 0, 0, 0]
  const statistics = (port: number) => {
    asked[port] = (asked[port] ?? 0) + 1
    return {
      receivedFrames: asked[port],
      receivedBytes: 0,
      sentFrames: 0,
      sentBytes: 0,
      sendDropped: 0,
      receiveDropped: 0,
    }
  }
  const exchange = { portNames: ['a', '', 'c', 'd'], statistics } as unknown as FrameExchange
  const row = new Float64Array(PORTS * PORT_STATISTICS_CELLS)
  return { publisher: new StatisticsPublisher(exchange, row), row, asked, exchange }
}

t.test('a step copies one port, and the worker does not sleep before the last one', async (t) => {
  const { publisher, row, asked } = counted()
  publisher.step(5, 0)
  t.same(asked, [1, 0, 0, 0])
  t.ok(publisher.hasMore)
  publisher.step(5, 1)
  publisher.step(5, 2)
  t.same(asked, [1, 0, 1, 1])
  t.notOk(publisher.hasMore)
  publisher.step(5, 3)
  publisher.step(5, QUARTER - 1)
  t.same(asked, [1, 0, 1, 1], 'the quarter of a second is not over')
  publisher.step(5, QUARTER)
  t.same(asked, [2, 0, 1, 1])
  t.equal(row[0], 2)
  t.equal(row[3 * PORT_STATISTICS_CELLS], 1)
})

t.test('before a stop all are copied, wherever the copy was', async (t) => {
  const { publisher, asked } = counted()
  publisher.step(5, 0)
  publisher.publish()
  t.same(asked, [2, 0, 1, 1])
  t.notOk(publisher.hasMore)
})

t.test('without ports there is nothing to do', async (t) => {
  const { publisher, exchange } = counted()
  ;(exchange.portNames as string[]).length = 0
  publisher.step(5, 0)
  publisher.publish()
  t.notOk(publisher.hasMore)
})

t.test('a port without its device tells what is lost for it', async (t) => {
  const clock = new VirtualClock()
  const exchange = new SoftwareExchange([new MemoryPort('lxc-a')], { clock, frameCount: 8 })
  const row = new Float64Array(PORTS * PORT_STATISTICS_CELLS)
  const publisher = new StatisticsPublisher(exchange, row)
  const burst = new Burst(8)
  exchange.exchange(burst)
  exchange.removePort(0)
  for (let i = 0; i < 3; i++) {
    burst.starts[i] = exchange.pool.take() + 256
    burst.lengths[i] = 60
    burst.ports[i] = 0
  }
  burst.count = 3
  exchange.exchange(burst)
  publisher.publish()
  t.equal(readPortStatistics((cell) => row[cell] ?? 0, 0).sendDropped, 3)
  exchange.close()
})

t.test('so does one that never had it, until it is attached', async (t) => {
  const counts = new DetachedCounts()
  const exchange = {
    portNames: [],
    statistics: (port: number) => counts.statistics(port),
    hasCounted: (port: number) => counts.has(port),
  } as unknown as FrameExchange
  const row = new Float64Array(PORTS_MAX * PORT_STATISTICS_CELLS)
  const publisher = new StatisticsPublisher(exchange, row)
  const lost = (port: number) => readPortStatistics((cell) => row[cell] ?? 0, port).sendDropped
  const last = PORTS_MAX - 1
  counts.undelivered[last] = 5
  counts.end(2, { ...NOTHING_COUNTED, sentFrames: 9, sendDropped: 1 })
  counts.undelivered[2] = 4
  publisher.publish()
  t.same([lost(0), lost(2), lost(last)], [0, 5, 5])
  t.equal(row[2 * PORT_STATISTICS_CELLS + 2], 9, 'what it had sent stays')
  counts.begin(last)
  t.notOk(counts.has(last))
})
