/** Captures of whole frames: which packets, at which points, and how they begin and end. */
import t from 'tap'
import {
  CAPTURE_SILENCE_SECONDS,
  CapturePoint,
  CaptureRecord,
  CaptureWord,
} from '../../src/monitor/capture.js'
import { captureComment } from '../../src/observe/capture-file.js'
import { captureWish } from '../../src/observe/capture-request.js'
import { endCapture, isCaptureOn } from '../../src/observe/capture-session.js'
import { NameBook } from '../../src/observe/names.js'
import { TailCall } from '../../src/pipeline/tail-call.js'
import { CaptureNode } from '../support/capture-node.js'
import { CLOSED, ip, segment, service, VIP } from '../support/service-node.js'
import { TestNode, type TestPod } from '../support/test-node.js'

const { INGRESS, EGRESS, STAGE, DROP } = CapturePoint

function made(t: { teardown: (f: () => void) => void }) {
  const node = new TestNode()
  const pods = [node.pod(), node.pod(), node.pod(CLOSED)] as const
  const capture = new CaptureNode(node)
  t.teardown(() => capture.close())
  return { node, capture, client: pods[0], server: pods[1], closed: pods[2] }
}

const data = (from: TestPod, to: string, port = 80, bytes = 1000): Uint8Array =>
  ip(from, to).tcp({ from: 40000, to: port, flags: 'ACK' }).payload(bytes).bytes()

const word = (record: Int32Array, index: number): number => record[index] ?? 0

t.test('a packet is captured whole where it comes in and where it leaves', async (t) => {
  const { node, capture, client, server } = made(t)
  capture.begin({})
  const frame = data(client, server.address)
  node.send(client.port, frame)
  const [left] = server.port.take()
  const records = capture.take()
  t.same(
    records.map(({ point }) => point),
    [INGRESS, EGRESS],
  )
  t.same(records[0]?.frame, Buffer.from(frame), 'as it came in')
  t.same(records[1]?.frame, Buffer.from(left ?? []), 'as it left')
  t.equal(node.clock.seconds(), word(records[0]?.record as Int32Array, CaptureRecord.SECONDS))
})

t.test('the snap length cuts the copy and not the length', async (t) => {
  const { node, capture, client, server } = made(t)
  capture.begin({ at: ['any:in'], snapBytes: 61 })
  const frame = data(client, server.address)
  node.send(client.port, frame)
  const [record] = capture.take()
  t.same(record?.frame, Buffer.from(frame.subarray(0, 61)))
  t.equal(word(record?.record as Int32Array, CaptureRecord.FRAME_BYTES), frame.length)
})

t.test('a stage shows the frame as it gets it, and who asks for none gets none', async (t) => {
  const { node, capture, client, server } = made(t)
  node.controller.setService(service([server]))
  capture.begin({ at: ['stage:ipv4_ct_egress', `${client.id}:in`] })
  node.send(client.port, segment(client, 40000))
  const records = capture.take()
  t.same(
    records.map(({ point }) => point),
    [INGRESS, STAGE],
  )
  t.equal(word(records[1]?.record as Int32Array, CaptureRecord.STAGE), TailCall.IPV4_CT_EGRESS)
  const address = (frame: Buffer | undefined) => frame?.subarray(30, 34).join('.')
  t.equal(address(records[0]?.frame), VIP)
  t.equal(address(records[1]?.frame), server.address, 'translated before it')
})

t.test('a drop has its reason, its stage and its side in the comment', async (t) => {
  const { node, capture, client, closed } = made(t)
  capture.begin({ at: ['drops'] })
  node.send(client.port, data(client, closed.address))
  const [record] = capture.take()
  t.equal(record?.point, DROP)
  const comment = captureComment(record?.record as Int32Array, node.maps, new NameBook())
  t.match(comment, /^packet 1 at drop, came in by 1 \(pod1\); DROPPED 133 POLICY_DENIED \(policy/)
  t.match(comment, /last stage IPV4_TO_ENDPOINT; ingress of 3; connection new; identity 301/)
})

t.test('verdict and reason choose packets when their fate is known', async (t) => {
  const { node, capture, client, server, closed } = made(t)
  const both = (): void => {
    node.send(client.port, data(client, server.address))
    node.send(client.port, data(client, closed.address))
  }
  for (const request of [{ verdict: 'dropped' }, { reason: 'policy_denied' }] as const) {
    const session = capture.begin({ at: ['any:in'], ...request })
    both()
    const records = capture.take()
    t.equal(records.length, 1, JSON.stringify(request))
    t.equal(word(records[0]?.record as Int32Array, CaptureRecord.VERDICT), -133)
    session.close()
    capture.step()
  }
  capture.begin({ verdict: 'forwarded', identity: server.identity })
  both()
  t.equal(capture.take().length, 2, 'in and out of the one that passed')
})

t.test('conditions are asked at each point; who met them is followed', async (t) => {
  const { node, capture, client, server } = made(t)
  node.controller.setService(service([server]))
  capture.begin({ ip: VIP })
  node.send(client.port, segment(client, 40000))
  t.same(
    capture.take().map(({ point }) => point),
    [INGRESS, EGRESS],
    'the request leaves with another address',
  )
  const reply = ip(server, client.address).tcp({ from: 8080, to: 40000, flags: 'SYN ACK' })
  node.send(server.port, reply.bytes())
  t.same(
    capture.take().map(({ point }) => point),
    [EGRESS],
    'the reply gets the address on its way',
  )
})

t.test('each condition keeps out what does not meet it', async (t) => {
  const { node, capture, client, server } = made(t)
  const cases: [object, boolean][] = [
    [{ ip: server.address }, true],
    [{ ip: '10.0.1.0/24' }, true],
    [{ ip: '10.0.2.0/24' }, false],
    [{ ip: '0.0.0.0/0' }, true],
    [{ source: client.address }, true],
    [{ source: server.address }, false],
    [{ destination: server.address }, true],
    [{ destination: client.address }, false],
    [{ port: 80 }, true],
    [{ port: 40000 }, true],
    [{ port: 81 }, false],
    [{ sourcePort: 40000 }, true],
    [{ sourcePort: 80 }, false],
    [{ destinationPort: 80 }, true],
    [{ destinationPort: 40000 }, false],
    [{ protocol: 'tcp' }, true],
    [{ protocol: '17' }, false],
    [{ at: ['2:in'] }, false],
    [{ at: ['2:out'] }, true],
    [{ at: ['1:out'] }, false],
  ]
  for (const [request, isExpected] of cases) {
    const session = capture.begin(request)
    node.send(client.port, data(client, server.address))
    t.equal(capture.take().length > 0, isExpected, JSON.stringify(request))
    session.close()
    capture.step()
  }
})

t.test('the flow lane goes on, and says which frames it carried', async (t) => {
  const { node, capture, client, server } = made(t)
  const session = capture.begin({})
  // It learns from the second packet on: the first begins the connection.
  for (let n = 0; n < 4; n++) node.send(client.port, data(client, server.address))
  const marks = capture.take().map(({ record }) => word(record, CaptureRecord.IS_REPEATED))
  t.same(marks, [0, 0, 0, 0, 1, 1, 1, 1])
  session.close()
  capture.step()
  const before = node.pipeline.framesRepeated
  capture.begin({ at: ['stage:IPV4_CT_EGRESS'] })
  for (let n = 0; n < 3; n++) node.send(client.port, data(client, server.address))
  t.equal(capture.take().length, 3, 'a capture of stages sees every packet')
  t.equal(node.pipeline.framesRepeated, before, 'since the lane rests')
})

t.test('what the lane knew before a capture of stages is void after it', async (t) => {
  const { node, capture, client, server } = made(t)
  for (let n = 0; n < 3; n++) node.send(client.port, data(client, server.address))
  t.equal(node.pipeline.framesRepeated, 1)
  const session = capture.begin({ at: ['stage:IPV4_CT_EGRESS'] })
  node.send(client.port, data(client, server.address))
  session.close()
  capture.step()
  node.send(client.port, data(client, server.address))
  t.equal(node.pipeline.framesRepeated, 1, 'the chain decides first')
  node.send(client.port, data(client, server.address))
  t.equal(node.pipeline.framesRepeated, 2)
})

t.test('a capture changes nothing that leaves', async (t) => {
  const { node, capture, client, server } = made(t)
  const plain = new TestNode()
  const [other, otherServer] = [plain.pod(), plain.pod()]
  capture.begin({ at: ['any', 'drops', 'stage:IPV4_TO_ENDPOINT'] })
  for (let n = 0; n < 5; n++) {
    node.send(client.port, data(client, server.address, 80, n * 100))
    plain.send(other.port, data(other, otherServer.address, 80, n * 100))
    t.same(server.port.take(), otherServer.port.take())
  }
  plain.close()
})

t.test('a full ring loses frames, counts them and says where', async (t) => {
  const { node, capture, client, server } = made(t)
  const session = capture.begin({ at: ['any:in'], bufferMebibytes: 0 })
  for (let n = 0; n < 70; n++) node.send(client.port, data(client, server.address))
  t.equal(capture.take().length, 64)
  t.equal(session.lost, 6)
  node.send(client.port, data(client, server.address))
  t.equal(capture.take()[0]?.lostBefore, 6)
})

t.test('one capture at a time; anybody may end it', async (t) => {
  const { node, capture } = made(t)
  const session = capture.begin({})
  t.throws(() => capture.begin({}), { code: 'ECAPTURE_RUNNING' })
  t.ok(session.isOn)
  t.ok(endCapture(node.maps))
  t.notOk(session.isOn)
  t.notOk(endCapture(node.maps), 'there is none any more')
})

t.test('a capture whose reader died ends by itself, and another may begin', async (t) => {
  const { node, capture, client, server } = made(t)
  const dead = capture.begin({ at: ['any:in'] })
  capture.step(CAPTURE_SILENCE_SECONDS)
  t.ok(dead.isOn, 'not yet')
  capture.step(CAPTURE_SILENCE_SECONDS + 1)
  t.notOk(dead.isOn)
  t.match(capture.log, [/its reader is silent/])
  node.send(client.port, data(client, server.address))
  t.equal(capture.take().length, 0)
  // Nobody told the datapath's maps, either, when it was the datapath that died.
  const { words } = node.maps.capture
  words[node.maps.capture.valueStart(0) + CaptureWord.SESSION] = 7
  words[node.maps.capture.valueStart(0) + CaptureWord.ALIVE_SECONDS] = 0
  t.notOk(isCaptureOn(node.maps))
  capture.begin({ at: ['any:in'] })
  node.send(client.port, data(client, server.address))
  t.equal(capture.take().length, 1)
})

t.test('a wrong wish names the field, the value and what was expected', async (t) => {
  const cases: [object, RegExp][] = [
    [{ at: ['nobody'] }, /at: 'nobody', expected any, or an endpoint/],
    [{ at: ['stage:NOTHING'] }, /at: 'stage:NOTHING', expected one of TIME_EXCEEDED, ARP/],
    [{ reason: 'BAD' }, /reason: 'BAD', expected a number or one of INVALID_SOURCE_IP/],
    [{ protocol: 'xyz' }, /protocol: 'xyz', expected tcp, udp/],
    [{ ip: 'fd00::1' }, /ip: 'fd00::1', expected an IPv4 address/],
    [{ source: '10.0.0.0/33' }, /source: '10.0.0.0\/33', expected/],
  ]
  for (const [request, says] of cases) {
    t.throws(() => captureWish(request, []), { message: says, code: 'ECONFIG_INVALID' })
  }
})
