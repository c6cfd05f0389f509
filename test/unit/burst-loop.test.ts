/** When a worker keeps house: about once a millisecond, before it sleeps, and at once while idle. */
import t from 'tap'
import type { BurstHandler } from '../../src/engine/burst-loop.js'
import { BurstLoop } from '../../src/engine/burst-loop.js'
import { type IdleOptions, IdleStrategy } from '../../src/engine/idle-strategy.js'
import type { Burst } from '../../src/packet/burst.js'
import type { FrameExchange } from '../../src/port/port.js'

const MILLISECOND = 2 ** 20
const NOBODY: BurstHandler = { run() {} }

/** An exchange with so many frames in each burst, at a time that the test sets. */
class Source {
  frames = 0
  nanoseconds = 0
  waits = 0

  exchange(burst: Burst): number {
    burst.count = this.frames
    burst.setTime(1, this.nanoseconds)
    return this.frames
  }

  wait(): void {
    this.waits++
  }
}

const idleAs = (mode: IdleOptions['mode'], spinExchanges = 4) =>
  new IdleStrategy({ mode, spinExchanges, sleepMilliseconds: 100 })

function loopOf(mode: IdleOptions['mode']) {
  const source = new Source()
  const task = { steps: 0, hasMore: false, step: () => task.steps++ }
  const exchange = source as unknown as FrameExchange
  return { source, task, loop: new BurstLoop(exchange, NOBODY, idleAs(mode), [task]) }
}

t.test('the first turn, and then one of each millisecond', async (t) => {
  const { source, task, loop } = loopOf('spin')
  loop.turn()
  t.equal(task.steps, 1, 'ports are attached before the first frame')
  for (let i = 0; i < 1000; i++) loop.turn()
  t.equal(task.steps, 1)
  source.nanoseconds = MILLISECOND - 1
  loop.turn()
  t.equal(task.steps, 1)
  source.nanoseconds = MILLISECOND
  loop.turn()
  t.equal(task.steps, 2)
  t.equal(source.waits, 0)
})

t.test('under load a millisecond is noticed within 64 bursts', async (t) => {
  const { source, task, loop } = loopOf('spin')
  loop.turn()
  source.frames = 3
  source.nanoseconds = MILLISECOND
  for (let i = 0; i < 63; i++) t.equal(loop.turn(), 3)
  t.equal(task.steps, 1)
  loop.turn()
  t.equal(task.steps, 2)
  for (let i = 0; i < 640; i++) loop.turn()
  t.equal(task.steps, 2)
  t.equal(loop.frames, 704 * 3)
})

t.test(
  'what is left undone: at once while no frame waits, else with the next millisecond',
  async (t) => {
    const { source, task, loop } = loopOf('poll')
    task.hasMore = true
    for (let i = 0; i < 5; i++) loop.turn()
    t.equal(task.steps, 5)
    t.equal(source.waits, 0, 'nor does it sleep')
    source.frames = 1
    for (let i = 0; i < 640; i++) loop.turn()
    t.equal(task.steps, 5)
    source.frames = 0
    task.hasMore = false
    loop.turn()
    t.same([task.steps, source.waits], [6, 1])
  },
)

t.test('after a sleep at once: it may have been woken for a task', async (t) => {
  const { source, task, loop } = loopOf('adaptive')
  for (let i = 0; i < 5; i++) loop.turn()
  t.same([task.steps, source.waits], [1, 1])
  loop.turn()
  t.same([task.steps, source.waits], [2, 2])
})
