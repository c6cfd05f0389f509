/** What the lanes of several workers tell each other of connections that began. */
import t from 'tap'
import { BURST_CAPACITY } from '../../src/base/limits.js'
import { BurstLoop } from '../../src/engine/burst-loop.js'
import { IDLE_DEFAULTS, IdleStrategy } from '../../src/engine/idle-strategy.js'
import { FlowNews } from '../../src/pipeline/flow-news.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { seededPrng } from '../support/seed.js'
import { ip } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

/** Of a worker's ring. */
const CAPACITY = 4096

class Flows {
  readonly forgotten: number[][] = []
  invalidated = 0

  forgetEnds(...ends: [number, number, number, number]): void {
    this.forgotten.push(ends)
  }

  invalidate(): void {
    this.invalidated++
  }

  take(): number[][] {
    return this.forgotten.splice(0)
  }
}

/** So many workers at one memory, with what each has heard. */
function workers(count: number): { news: FlowNews; flows: Flows }[] {
  const memory = new SharedArrayBuffer(FlowNews.bytesFor(count))
  return Array.from({ length: count }, (_, worker) => ({
    news: new FlowNews(memory, worker),
    flows: new Flows(),
  }))
}

t.test('each other worker hears it once, and nobody his own', async (t) => {
  const team = workers(3)
  team[1]?.news.tell(1, -2, 3, 0x106)
  for (const { news, flows } of team) for (let i = 0; i < 2; i++) news.hear(flows)
  t.same(
    team.map(({ flows }) => flows.forgotten),
    [[[1, -2, 3, 0x106]], [], [[1, -2, 3, 0x106]]],
  )
})

t.test('who is not overtaken hears everything in order; who is forgets all flows', async (t) => {
  const prng = seededPrng(t)
  const [teller, listener] = workers(2) as [{ news: FlowNews }, { news: FlowNews; flows: Flows }]
  let next = 0
  for (let round = 0; round < 40; round++) {
    const expected: number[][] = []
    const count = prng.below(CAPACITY + CAPACITY / 4)
    for (let i = 0; i < count; i++, next++) {
      teller.news.tell(next, next ^ 1, next ^ 2, next ^ 3)
      expected.push([next, next ^ 1, next ^ 2, next ^ 3])
    }
    listener.flows.invalidated = 0
    listener.news.hear(listener.flows)
    const isOvertaken = count >= CAPACITY
    t.equal(listener.flows.invalidated, isOvertaken ? 1 : 0, `${count} at once`)
    const heard = listener.flows.take()
    if (!isOvertaken) t.same(heard, expected)
  }
})

t.test('what a connection at one worker makes void is not repeated by another', async (t) => {
  const memory = new SharedArrayBuffer(FlowNews.bytesFor(2))
  const node = new TestNode({ hasUplink: true, news: new FlowNews(memory, 0) })
  const pod = node.pod()
  node.controller.setMasquerade({ enabled: true })
  const second = new Pipeline(node.maps.stateFor(0), node.packet, BURST_CAPACITY, {
    news: new FlowNews(memory, 1),
  })
  const loop = new BurstLoop(node.exchange, second, new IdleStrategy(IDLE_DEFAULTS), [])
  const sendBySecond = (frame: Uint8Array): void => {
    node.uplink.inject(frame)
    while (loop.turn() > 0);
    loop.turn()
  }
  const answer = eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
    .ipv4({ from: OUTSIDE_ADDRESS, to: UPLINK_ADDRESS })
    .udp({ from: 53, to: 40000 })
    .bytes()
  // Nobody's yet, so the node's stack gets them, and the lane of the second worker knows the way.
  for (let i = 0; i < 3; i++) sendBySecond(answer)
  t.equal(node.host.take().length, 3)
  t.ok(second.framesRepeated > 0, 'it does repeat them')
  node.send(pod.port, ip(pod, OUTSIDE_ADDRESS).udp({ from: 40000, to: 53 }).bytes())
  checkPacket(t, node.uplink.take()[0] as Uint8Array, { udp: { from: 40000, to: 53 } })
  sendBySecond(answer)
  t.equal(node.host.take().length, 0)
  t.equal(pod.port.take().length, 1)
  node.close()
})
