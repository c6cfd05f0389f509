/**
 * When a worker keeps house: a task every eight milliseconds in turn, all of them when it was woken, and
 * each millisecond, or at once while it is idle, what is left undone.
 */
import t from 'tap'
import type { BurstHandler } from '../../src/engine/burst-loop.js'
import { BurstLoop } from '../../src/engine/burst-loop.js'
import { type IdleOptions, IdleStrategy } from '../../src/engine/idle-strategy.js'
import type { Burst } from '../../src/packet/burst.js'
import type { FrameExchange } from '../../src/port/port.js'

const MILLISECOND = 1_000_000
const TURN = 8 * MILLISECOND
const TASKS = 3
const NOBODY: BurstHandler = { run() {} }

/** An exchange with so many frames in each burst, at a time that the test sets. */
class Source {
  frames = 0
  seconds = 1
  nanoseconds = 0
  waits = 0
  isWoken = false

  exchange(burst: Burst): number {
    burst.count = this.frames
    burst.setTime(this.seconds, this.nanoseconds)
    return this.frames
  }

  wait(): boolean {
    this.waits++
    return this.isWoken
  }
}

class Task {
  steps = 0
  hasMore = false

  step(): void {
    this.steps++
  }
}

const idleAs = (mode: IdleOptions['mode'], spinExchanges = 4) =>
  new IdleStrategy({ mode, spinExchanges, sleepMilliseconds: 100 })

function loopOf(mode: IdleOptions['mode']) {
  const source = new Source()
  const tasks = Array.from({ length: TASKS }, () => new Task())
  const exchange = source as unknown as FrameExchange
  const loop = new BurstLoop(exchange, NOBODY, idleAs(mode), tasks)
  const turns = (count: number) => {
    for (let i = 0; i < count; i++) loop.turn()
    return tasks.map(({ steps }) => steps)
  }
  return { source, tasks, loop, turns }
}

t.test('all with the first turn, and then one every eight milliseconds', async (t) => {
  const { source, turns } = loopOf('spin')
  t.same(turns(1), [1, 1, 1], 'ports are attached before the first frame')
  t.same(turns(1000), [1, 1, 1])
  source.nanoseconds = TURN - 1
  t.same(turns(10), [1, 1, 1])
  for (const expected of [
    [2, 1, 1],
    [2, 2, 1],
    [2, 2, 2],
    [3, 2, 2],
  ]) {
    source.nanoseconds += TURN
    t.same(turns(10), expected)
  }
  t.equal(source.waits, 0)
})

t.test('turns that were missed are made up for, across seconds too', async (t) => {
  const { source, turns } = loopOf('spin')
  turns(1)
  source.nanoseconds = 2 * TURN
  t.same(turns(1), [2, 2, 1])
  source.nanoseconds = 4 * TURN
  t.same(turns(1), [3, 2, 2])
  source.nanoseconds = 999 * MILLISECOND
  t.same(turns(2), [4, 3, 3], 'one each, however long it was')
  source.seconds = 2
  source.nanoseconds = 0
  t.same(turns(2), [4, 4, 3])
})

t.test('under load a turn is noticed within 64 bursts', async (t) => {
  const { source, loop, turns } = loopOf('spin')
  turns(1)
  source.frames = 3
  source.nanoseconds = TURN
  t.same(turns(63), [1, 1, 1])
  t.same(turns(1), [2, 1, 1])
  t.same(turns(640), [2, 1, 1])
  t.equal(loop.frames, 704 * 3)
})

t.test('what is left undone: at once while no frame waits, and alone', async (t) => {
  const { source, tasks, turns } = loopOf('poll')
  const [, busy] = tasks as [Task, Task, Task]
  busy.hasMore = true
  t.same(turns(5), [1, 5, 1])
  t.equal(source.waits, 0, 'nor does it sleep')
  source.frames = 1
  t.same(turns(640), [1, 5, 1], 'not while there are frames')
  source.nanoseconds = MILLISECOND
  t.same(turns(128), [1, 6, 1], 'but each millisecond')
  source.nanoseconds = TURN
  t.same(turns(64), [2, 7, 1], 'besides the one whose turn it is')
  source.frames = 0
  busy.hasMore = false
  source.nanoseconds = 2 * TURN
  t.same(turns(1), [2, 8, 1])
  t.equal(source.waits, 1)
})

t.test('after a sleep, all if another thread ended it', async (t) => {
  const { source, turns } = loopOf('adaptive')
  t.same(turns(5), [1, 1, 1])
  t.equal(source.waits, 1)
  t.same(turns(1), [1, 1, 1], 'a frame has')
  source.isWoken = true
  t.same(turns(1), [1, 1, 1])
  t.equal(source.waits, 3)
  t.same(turns(1), [2, 2, 2])
})
