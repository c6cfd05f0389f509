/** The ports' counters in shared memory: a port in a step, each ten times a second. */
import t from 'tap'
import { StatisticsPublisher } from '../../src/engine/statistics-publisher.js'
import type { FrameExchange } from '../../src/port/port.js'
import { PORT_STATISTICS_CELLS } from '../../src/port/port-statistics.js'

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
