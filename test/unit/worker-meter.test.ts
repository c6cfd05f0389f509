/** How a worker fares: sampled stages, time by state, collections, and what the agent tells of them. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { BURST_CAPACITY } from '../../src/base/limits.js'
import { BurstLoop } from '../../src/engine/burst-loop.js'
import { IdleStrategy } from '../../src/engine/idle-strategy.js'
import { WorkerMeter, WorkerState } from '../../src/engine/worker-meter.js'
import {
  PORT_RINGS_CELLS,
  RingCell,
  TimedPass,
  WORKER_CELLS,
  WorkerCell,
} from '../../src/monitor/worker-statistics.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { StageTimer } from '../../src/pipeline/stage-timer.js'
import { TailCall } from '../../src/pipeline/tail-call.js'
import { ip } from '../support/service-node.js'
import { TestNode } from '../support/test-node.js'

const none = { frames: 0, bursts: 0, repeated: 0, sleeps: 0 }

t.test('in one burst of N the passes and the stages of one packet are timed', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const cells = new Float64Array(WORKER_CELLS)
  // A clock of whole microseconds that goes on by one with each reading: its own cost is taken off.
  let readings = 0
  const timer = new StageTimer(cells, 4, () => (readings++ * 2) / 1000)
  const pipeline = new Pipeline(node.maps.stateFor(0, 1), node.packet, BURST_CAPACITY, { timer })
  const loop = new BurstLoop(node.exchange, pipeline, new IdleStrategy(), [])
  const syn = (port: number) =>
    ip(client, server.address).tcp({ from: port, to: 80, flags: 'SYN' }).bytes()
  for (let n = 0; n < 8; n++) {
    for (let i = 0; i < 3; i++) client.port.inject(syn(1000 + n * 3 + i))
    loop.turn()
  }
  const timed = (stage: number) => cells[WorkerCell.STAGES + 2 * stage]
  t.equal(timed(TimedPass.LANE), 6, 'two bursts of three')
  t.equal(timed(TimedPass.PARSE), 6)
  t.equal(timed(TimedPass.ENTRY), 2, 'one packet of each')
  t.equal(timed(TailCall.IPV4_CT_EGRESS), 2)
  t.equal(timed(TailCall.IPV4_TO_ENDPOINT), 2)
  t.equal(timed(TailCall.ARP), 0)
  t.equal(pipeline.observer, null, 'nobody watches the next packet')
  t.equal(loop.bursts, 8)
  node.close()
})

t.test('the clock costs what it costs, and stages what is beyond it', async (t) => {
  const cells = new Float64Array(WORKER_CELLS)
  let now = 0
  const timer = new StageTimer(cells, undefined, () => {
    now += 0.000_04
    return now
  })
  timer.start()
  now += 0.000_5
  timer.took(TailCall.ARP, 1)
  const spent = cells[WorkerCell.STAGES + 2 * TailCall.ARP + 1] ?? 0
  t.ok(Math.abs(spent - 500) < 1, `${spent} ns`)
})

t.test('time goes to the state that it was spent in', async (t) => {
  const node = new TestNode()
  const cells = new Float64Array(WORKER_CELLS)
  const told = new Float64Array(WORKER_CELLS)
  const rings = new Float64Array(PORT_RINGS_CELLS)
  const meter = new WorkerMeter(node.exchange, cells, { cells: told, rings }, () => none)
  meter.stamped(10, 999_999_000)
  meter.state = WorkerState.BUSY
  meter.stamped(11, 0)
  meter.state = WorkerState.SPINNING
  meter.stamped(11, 2_000)
  meter.state = WorkerState.ASLEEP
  meter.stamped(13, 2_000)
  meter.publish()
  const seconds = (state: number) => Math.round((cells[WorkerCell.STATES + state] ?? 0) * 1e9)
  t.equal(seconds(WorkerState.BUSY), 1_000)
  t.equal(seconds(WorkerState.SPINNING), 2_000)
  t.equal(seconds(WorkerState.ASLEEP), 2_000_000_000)
  node.close()
})

t.test('collections are counted with their pauses, and the heap is told', async (t) => {
  const node = new TestNode()
  const cells = new Float64Array(WORKER_CELLS)
  const told = new Float64Array(WORKER_CELLS)
  const rings = new Float64Array(PORT_RINGS_CELLS)
  const meter = new WorkerMeter(node.exchange, cells, { cells: told, rings }, () => none)
  let kept: number[][] = []
  for (let n = 0; n < 300; n++) {
    kept = Array.from({ length: 5_000 }, (_, i) => [i, n])
    if (n % 100 === 0) await sleep(1)
  }
  t.equal(kept.length, 5_000)
  meter.step(1)
  t.ok((cells[WorkerCell.COLLECTIONS] ?? 0) > 0, 'minor ones')
  t.ok((cells[WorkerCell.COLLECTIONS + 1] ?? 0) > 0, 'and their seconds')
  t.ok((cells[WorkerCell.HEAP_USED] ?? 0) > 1e6)
  node.close()
})

t.test('rows of the process that runs stay as they are until one tells of itself', async (t) => {
  const node = new TestNode()
  const cells = new Float64Array(WORKER_CELLS)
  const told = new Float64Array(WORKER_CELLS).fill(5)
  const rings = new Float64Array(PORT_RINGS_CELLS).fill(5)
  const meter = new WorkerMeter(node.exchange, cells, { cells: told, rings }, () => none)
  cells[WorkerCell.STAGES] = 3
  t.ok(told.every((n) => n === 5) && rings.every((n) => n === 5))
  meter.publish()
  t.equal(told[WorkerCell.STAGES], 3)
  t.equal(rings[PORT_RINGS_CELLS - 1], 0, 'what another left is replaced')
  node.close()
})

t.test('rings are told by port, where an exchange has any', async (t) => {
  const cells = new Float64Array(WORKER_CELLS)
  const told = new Float64Array(WORKER_CELLS)
  const rings = new Float64Array(PORT_RINGS_CELLS)
  const node = new TestNode()
  const state = { framesReceiving: 9, framesSending: 3, kicks: 5, kickErrors: 1, fillRingEmpty: 2 }
  const exchange = Object.assign(Object.create(node.exchange), {
    portNames: ['a', ''],
    rings: () => state,
  })
  new WorkerMeter(exchange, cells, { cells: told, rings }, () => ({ ...none, frames: 7 })).publish()
  t.equal(rings[RingCell.FRAMES_RECEIVING], 9)
  t.equal(rings[RingCell.FILL_RING_EMPTY], 2)
  t.equal(told[WorkerCell.FRAMES], 7)
  node.close()
})
