/** Rounds of several starts: what is compared when a contender failed in one of them. */
import t from 'tap'
import { summarize } from '../../bench/lib/result.js'
import { peerPackages } from '../../bench/peers/install.js'
import type { Measured } from '../../bench/wire/contest.js'
import { alone, compared, type Figures } from '../../bench/wire/throughput.js'

const UNDISTURBED = 1
const runs = (...rates: number[]): Measured[] =>
  rates.map((framesPerSecond) => ({ framesPerSecond, bytesPerSecond: 0, cpuShare: UNDISTURBED }))
const OURS = { contender: 'full', name: 'wire/full/64', note: 'x' }
const THEIRS = { contender: 'c-full', name: 'wire/c-full/64', note: 'x' }

t.test('only the starts in which both were there are compared', async (t) => {
  const starts: Figures[] = [1, 2, 4].map((speed) => {
    const yardstick: Figures = new Map([['c-full', runs(100 * speed, 110 * speed)]])
    return speed === 2 ? yardstick : new Map([...yardstick, ['full', runs(80 * speed, 88 * speed)]])
  })
  const [ours, theirs] = compared(starts, OURS, THEIRS, new Map([['full', 'no memory']]))
  t.equal(ours.ratio?.toFixed(3), '0.800')
  t.equal(ours.runs, 4)
  t.equal(theirs.runs, 4)
  t.match(ours.note, /2 of 3 starts/)
})

t.test('a contender that never started has a line that says why', async (t) => {
  const starts: Figures[] = [new Map([['full', runs(80)]])]
  const [ours, theirs] = compared(starts, OURS, THEIRS, new Map([['c-full', 'no compiler']]))
  t.match(ours, { median: 80, runs: 1 })
  t.notOk('ratio' in ours)
  t.match(theirs, { name: 'wire/c-full/64', runs: 0, note: 'not run: no compiler' })
  t.match(alone([], OURS, new Map([['full', 'no root']])), { runs: 0, note: 'not run: no root' })
})

t.test('the peers’ packages have the names that this release gives them', async (t) => {
  const debian13 = peerPackages(['librte-net-af-xdp25', 'librte-net-af-xdp-dev', ''])
  t.same(debian13, ['dpdk-dev', 'nftables', 'openvswitch-switch', 'librte-net-af-xdp25'])
  t.match(peerPackages(['librte-net-af-xdp9', 'librte-net-af-xdp23']).at(-1), /23$/)
  t.notMatch(peerPackages([]).join(' '), 'librte', 'a distribution without it')
})

t.test('rounds that have no partner are not paired', async (t) => {
  const yardstick = { name: 'c', unit: 'frames/s', values: [100, 200] }
  t.throws(
    () => summarize({ ...yardstick, name: 'ts', values: [80] }, yardstick),
    /1 rounds beside 2/,
  )
})
