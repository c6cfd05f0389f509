/** Bandwidth of endpoints: what is within it passes, what is not is dropped with 162. */
import t from 'tap'
import { ErrorCode } from '../../src/base/errors.js'
import { Direction } from '../../src/packet/verdict.js'
import { ip } from '../support/service-node.js'
import { TestNode, type TestPod } from '../support/test-node.js'

const LIMITED = 162
const MEGABIT = 1_000_000
/** With its headers 1,000 bytes. */
const PAYLOAD = 'x'.repeat(958)
const FRAME_BYTES = 1000

function setUp(t: { after(work: () => void): void }) {
  const node = new TestNode()
  t.after(() => node.close())
  const [client, server] = [node.pod(), node.pod()]
  /** Sends frames of 1,000 bytes at an even rate for some seconds; tells how many arrived. */
  const send = (from: TestPod, to: TestPod, framesPerSecond: number, seconds: number): number => {
    const frame = ip(from, to.address).udp({ from: 5000, to: 53 }).payload(PAYLOAD).bytes()
    if (frame.length !== FRAME_BYTES) throw new Error(`${frame.length} bytes`)
    let arrived = 0
    for (let sent = 0; sent < framesPerSecond * seconds; sent++) {
      node.clock.advanceSeconds(1 / framesPerSecond)
      node.send(from.port, frame)
      arrived += to.port.take().length
    }
    return arrived
  }
  return { node, client, server, send }
}

t.test('a pod sends no more than its rate, and all of it', async (t) => {
  const { node, client, server, send } = setUp(t)
  node.controller.setBandwidth(client.id, { egressBitsPerSecond: 8 * MEGABIT })
  t.equal(send(client, server, 900, 2), 1800, 'below the rate nothing is lost')
  const arrived = send(client, server, 2000, 4)
  // A thousand a second, and at first an eighth of a second more.
  t.ok(Math.abs(arrived - 4125) < 10, `${arrived} frames in 4 s`)
  const dropped = node.counted(LIMITED, Direction.EGRESS)
  t.equal(dropped, 8000 - arrived, 'each loss is counted')
})

t.test('a pod gets no more than its rate, whoever sends', async (t) => {
  const { node, client, server, send } = setUp(t)
  node.controller.setBandwidth(server.id, { ingressBitsPerSecond: 8 * MEGABIT })
  const arrived = send(client, server, 2000, 2)
  t.ok(Math.abs(arrived - 2125) < 10, `${arrived} frames in 2 s`)
  t.equal(node.counted(LIMITED, Direction.INGRESS), 4000 - arrived)
  t.equal(send(server, client, 2000, 1), 2000, 'what it sends is another matter')
})

t.test('pods have buckets of their own', async (t) => {
  const { node, client, server, send } = setUp(t)
  const third = node.pod()
  for (const pod of [client, third]) {
    node.controller.setBandwidth(pod.id, { egressBitsPerSecond: 8 * MEGABIT })
  }
  send(client, server, 4000, 1)
  t.equal(send(third, server, 900, 1), 900)
})

t.test('a slow pod gets its first window through', async (t) => {
  const { node, client, server } = setUp(t)
  node.controller.setBandwidth(client.id, { egressBitsPerSecond: 8_000 })
  const frame = ip(client, server.address).udp({ from: 5000, to: 53 }).payload(PAYLOAD).bytes()
  for (let i = 0; i < 20; i++) node.send(client.port, frame)
  t.equal(server.port.take().length, 16)
})

t.test('a limit may be changed and taken away while packets flow', async (t) => {
  const { node, client, server, send } = setUp(t)
  t.equal(send(client, server, 2000, 1), 2000)
  node.controller.setBandwidth(client.id, { egressBitsPerSecond: 8 * MEGABIT })
  t.ok(send(client, server, 2000, 1) < 1200)
  node.controller.setBandwidth(client.id, { egressBitsPerSecond: 12 * MEGABIT })
  const arrived = send(client, server, 2000, 2)
  t.ok(Math.abs(arrived - 3000) < 200, `${arrived} frames in 2 s`)
  node.controller.setBandwidth(client.id, {})
  t.equal(send(client, server, 2000, 1), 2000)
})

t.test('a new endpoint in the place of another has no limit', async (t) => {
  const { node, client } = setUp(t)
  node.controller.setBandwidth(client.id, { egressBitsPerSecond: MEGABIT })
  const port = node.controller.portOf(client.id)
  const row = node.maps.endpoints.rowStart(port)
  node.controller.removeEndpoint(client.id)
  const device = node.maps.ports.device(port)
  const spec = { id: 77, identity: 400, device, address: '10.0.1.77' }
  t.equal(node.controller.addEndpoint({ ...spec, mac: client.mac, nodeMac: client.mac }), port)
  t.equal(node.maps.endpoints.words[row + 13], 0)
})

t.test('what cannot be is refused with nothing changed', async (t) => {
  const { node, client, server, send } = setUp(t)
  const refused = { code: ErrorCode.CONFIG_INVALID }
  for (const bits of [0, 7999, 1.5, -1, 1e13, Number.NaN]) {
    const spec = { ingressBitsPerSecond: MEGABIT, egressBitsPerSecond: bits }
    t.throws(() => node.controller.setBandwidth(client.id, spec), refused)
  }
  t.throws(() => node.controller.setBandwidth(99, {}), refused)
  t.equal(send(client, server, 2000, 1), 2000)
})
