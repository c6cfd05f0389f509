/** When a worker is said to hang: by its beats, and by what the kernel tells of its thread. */
import t from 'tap'
import { StallJudge, type ThreadTimes } from '../../src/daemon/stall-watch.js'

const THREAD = 7
const idle: ThreadTimes = { isStopped: false, isTraced: false, running: 0, waiting: 0 }

/** Looks ten times a second for so long; the first reason that is found, and when. */
function watch(
  milliseconds: number,
  times: (at: number) => Partial<ThreadTimes>,
  beats: (at: number) => number = () => 1,
): [reason: string, at: number] | undefined {
  const judge = new StallJudge()
  for (let at = 0; at <= milliseconds; at += 100) {
    const beat = { thread: THREAD, beats: beats(at) }
    const reason = judge.judge(beat, { ...idle, ...times(at) }, at)
    if (reason !== undefined) return [reason, at]
  }
  return undefined
}

t.test('a worker in an endless loop is found within half a second', async (t) => {
  t.same(
    watch(5_000, (at) => ({ running: at })),
    ['it ran for 500 ms without a beat', 500],
  )
})

t.test('a worker that beats is left alone, whatever else it does', async (t) => {
  const beats = (at: number) => at
  t.equal(
    watch(20_000, (at) => ({ running: at }), beats),
    undefined,
  )
  t.equal(
    watch(20_000, () => ({}), beats),
    undefined,
  )
})

t.test('a worker that waits for a processor is left alone', async (t) => {
  t.equal(
    watch(20_000, (at) => ({ waiting: at })),
    undefined,
  )
})

t.test('a stopped worker is found within half a second', async (t) => {
  const found = watch(
    5_000,
    (at) => ({ isStopped: at >= 1_000 }),
    (at) => Math.min(at, 1_000),
  )
  t.same(found, ['it is stopped', 1_400])
})

t.test('a worker that sleeps for three seconds is found, unless a debugger holds it', async (t) => {
  t.same(
    watch(10_000, () => ({})),
    ['it slept for 3100 ms without a beat', 3_100],
  )
  t.equal(
    watch(10_000, () => ({ isTraced: true })),
    undefined,
  )
})

t.end()
