/**
 * The demonstration on real pods: it keeps its promises, and leaves nothing however it ends.
 * Needs root.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Lab } from '../../src/lab/lab.js'
import { namespacesOf } from '../../src/lab/run-record.js'
import { Demo, leftAfterAWhile, leftovers } from '../support/demo-process.js'

// It runs programs for seconds, and setting up may be slow on a busy machine.
t.setTimeout(120_000)
const problem = await Lab.problem()
const skip = problem ?? false

t.test('it ends by itself with a summary, as promised, and leaves nothing', { skip }, async (t) => {
  const demo = new Demo('--seconds', '6')
  const id = await demo.begun()
  t.equal(namespacesOf(id).length, 5, 'the node and four pods')
  t.equal(await demo.end(), 0, demo.output)
  const { output } = demo
  t.match(output, /^Ringpath: real pods, real AF_XDP sockets/)
  t.match(output, /ok client +curl 10\.0\.1\.10 +(\d+) of \1 requests answered/)
  t.match(output, /ok client +iperf3 .*bit\/s/)
  t.match(output, /ok node +curl/)
  t.match(output, /ok intruder nc .* 0 of \d+ attempts got through/)
  t.match(output, /\d+ x 133 POLICY_DENIED +ingress/)
  t.match(output, /\d+ x 132 INVALID_SOURCE_IP +egress/)
  t.match(output, /Every frame accounted for/)
  t.match(output, /Nothing is left behind/)
  t.notOk(output.includes('\u001b'), 'no escape sequences on a pipe')
  t.same(leftovers(id), [])
})

t.test('interrupted it sums up what was, and leaves nothing', { skip }, async (t) => {
  const demo = new Demo('--seconds', '60')
  const id = await demo.begun()
  await sleep(3000)
  demo.process.kill('SIGINT')
  t.equal(await demo.end(), 130, demo.output)
  t.match(demo.output, /Summary \(interrupted after \d+ s\)/)
  t.match(demo.output, /Every frame accounted for/)
  t.same(leftovers(id), [])
})

t.test('after kill -9 the next run leaves nothing of either', { skip }, async (t) => {
  const killed = new Demo('--seconds', '60')
  const id = await killed.begun()
  killed.process.kill('SIGKILL')
  await killed.end()
  const next = new Demo('--seconds', '6')
  const nextId = await next.begun()
  t.equal(await next.end(), 0, next.output)
  t.same(await leftAfterAWhile(id), [])
  t.same(leftovers(nextId), [])
})
