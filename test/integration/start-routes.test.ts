/**
 * A datapath that starts while a pod sends to the outside, and one that takes the place of a killed
 * one: from the first frame on its way is the uplink, and none goes through the node's stack.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { GATEWAY_ADDRESS, LiveNode, OUTSIDE_ADDRESS } from '../support/live-node.js'

/** Longer than it takes to look for ports again, and than statistics are published apart. */
const FIRST_MILLISECONDS = 1_000
/** Of some nine hundred; the machine may be busy. */
const FRAMES_MIN = 100

const live = await LiveNode.create('start-routes', { hasUplink: true })
t.after(() => live.close())
const { lab, node, outside } = live
const pod = await live.pod('client')
// A next hop that is to be asked for is the stack's, too.
const { stdout } = await lab.exec(outside, 'cat', ['/sys/class/net/eth0/address'])
const gateway = `${GATEWAY_ADDRESS} lladdr ${stdout.trim()} dev uplink0 nud permanent`
await lab.ip(node, [`neigh replace ${gateway}`])

const sender = lab.spawn(pod, 'python3', [
  '-u',
  '-c',
  `
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print('sending')
while True:
    try: s.sendto(b'x', ('${OUTSIDE_ADDRESS}', 9))
    except OSError: pass
    time.sleep(0.001)
`,
])
await sender.waitForOutput(/sending/)

/** Of a datapath from its start: a process counts from nothing. */
async function firstFrames() {
  await live.start()
  await sleep(FIRST_MILLISECONDS)
  const sent = (port: number) => live.portStatistics(port).sentFrames
  // Where something else had the worker's core for as long.
  for (let i = 0; i < 100 && sent(live.uplinkPort) < FRAMES_MIN; i++) await sleep(100)
  return { byStack: sent(live.maps.node.hostPort), byUplink: sent(live.uplinkPort) }
}

t.test('a first datapath', async (t) => {
  const { byStack, byUplink } = await firstFrames()
  t.ok(byUplink >= FRAMES_MIN, `${byUplink} frames by the uplink`)
  t.equal(byStack, 0)
})

t.test('one after a killed one', async (t) => {
  await live.datapath?.kill()
  const { byStack, byUplink } = await firstFrames()
  t.ok(byUplink >= FRAMES_MIN, `${byUplink} frames by the uplink`)
  t.equal(byStack, 0)
})

t.end()
