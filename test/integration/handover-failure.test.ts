/**
 * A hand-over that fails when it can no longer be taken back: the process before has said that the
 * ports are the successor's, and ends. The successor attaches the devices itself.
 */
import t from 'tap'
import { ChannelListener, type DescriptorChannel } from 'xdp-socket-napi'
import { VERSION } from '../../src/base/version.js'
import { LivenessServer } from '../../src/daemon/liveness.js'
import { leaveRole, Role, takeRole } from '../../src/daemon/process-lock.js'
import { type FromGiver, handoverPath } from '../../src/engine/handover/messages.js'
import { ping } from '../../src/lab/traffic.js'
import { XskExchange } from '../../src/port/xsk-exchange.js'
import { HandOvers } from '../support/hand-overs.js'
import { LiveNode } from '../support/live-node.js'

const FRAMES = 32_768
const ANSWER_MILLISECONDS = 10_000

const live = await LiveNode.create('handover-failure')
t.after(() => live.close())
const client = await live.pod('client')
const server = await live.pod('server')
const { directory, lab } = live
const handOvers = new HandOvers(live)

type Test = typeof t

/** A datapath that hands over packet memory, and says of its frames what is not so. */
async function handOverWrongly(
  t: Test,
  listener: ChannelListener,
  memory: XskExchange,
): Promise<void> {
  let channel: DescriptorChannel | undefined
  await handOvers.until('a successor', () => {
    channel = listener.accept()
    return channel !== undefined
  })
  const say = (message: FromGiver, descriptors = new Int32Array(0)) =>
    channel?.send(JSON.stringify(message), descriptors)
  const hear = () => channel?.receive(ANSWER_MILLISECONDS)?.text
  t.match(hear(), /"hello"/)
  const descriptor = Int32Array.of(memory.memoryDescriptor)
  say({ type: 'memory', ...memory.memory, portCount: 0 }, descriptor)
  t.match(hear(), /"ready"/)
  say({ type: 'yours', free: 1, onRings: 2, stoppedNanoseconds: `${process.hrtime.bigint()}` })
}

t.test('a successor that fails after the word attaches the devices anew', async (t) => {
  takeRole(directory, Role.DATAPATH)
  const liveness = new LivenessServer(directory, VERSION)
  liveness.ready()
  const listener = new ChannelListener(handoverPath(directory, 0))
  const memory = new XskExchange({ frameCount: FRAMES })
  const successor = await handOvers.standby()
  process.kill(successor.pid ?? 0, 'SIGUSR2')
  await handOverWrongly(t as Test, listener, memory)
  const [line] = await successor.waitForOutput(/not taken over from .*/)
  t.match(line, /frames after a hand-over/)

  liveness.handedOver(successor.pid ?? 0)
  await liveness.close()
  listener.close()
  leaveRole(directory, Role.DATAPATH)
  await successor.waitForOutput(/datapath ready/)
  t.equal((await ping(lab, client, server.address)).received, 3)
})

t.end()
