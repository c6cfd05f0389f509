/** Explanations: drops of different causes, each told with its cause and reproduced. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { PORTS_MAX } from '../../src/base/limits.js'
import { EventType } from '../../src/monitor/event.js'
import { endpointRows } from '../../src/observe/endpoint-view.js'
import { Explainer } from '../../src/observe/explain.js'
import { flowOf } from '../../src/observe/flow.js'
import { flowMatcher } from '../../src/observe/flow-filter.js'
import { FlowLog } from '../../src/observe/flow-log.js'
import { NameBook } from '../../src/observe/names.js'
import { replay } from '../../src/observe/replay.js'
import { whyDropped } from '../../src/observe/why.js'
import { Direction } from '../../src/packet/verdict.js'
import type { MemoryPort } from '../../src/port/memory-port.js'
import { createCapture } from '../../src/port/pcap/open-capture.js'
import { PortMode, PortStatus } from '../../src/port/port-table.js'
import { eth } from '../support/packet-builder.js'
import { CLOSED, ip, segment, service, VIP } from '../support/service-node.js'
import { HOST_MAC, NODE_ADDRESS, NODE_MAC, TestNode, type TestPod } from '../support/test-node.js'

interface World {
  readonly node: TestNode
  readonly client: TestPod
  readonly closed: TestPod
  readonly denied: TestPod
}

function world(): World {
  const node = new TestNode()
  const client = node.pod()
  const closed = node.pod(CLOSED)
  const deny = { direction: Direction.INGRESS, action: 'deny', cookie: 7 } as const
  const denied = node.pod({ enforceIngress: true, enforceEgress: false, rules: [deny] })
  node.controller.setService(service([{ address: '10.0.1.9', port: 8080 }]))
  return { node, client, closed, denied }
}

const names = new NameBook({
  objects: [
    { kind: 'Endpoint', name: 'default/client', spec: { id: 1, address: '10.0.1.1', labels: {} } },
    { kind: 'Endpoint', name: 'default/closed', spec: { id: 2, address: '10.0.1.2', labels: {} } },
  ],
  identities: [{ number: 301, labels: { 'k8s:app': 'client' } }],
  cookies: { 7: 'CiliumNetworkPolicy default/deny-all' },
})

interface Cause {
  readonly name: string
  readonly code: number
  /** Of the answer. */
  readonly says: RegExp
  frame(world: World): Uint8Array
  port?(world: World): MemoryPort
}

const truncated = (bytes: Uint8Array, length: number): Uint8Array => bytes.slice(0, length)
const link = (pod: TestPod) => eth({ from: pod.mac, to: NODE_MAC })

const CAUSES: readonly Cause[] = [
  {
    name: 'a source that is not the pod’s own',
    code: 132,
    says: /may send from its own address alone/,
    frame: ({ client }) => link(client).ipv4({ from: '10.9.9.9', to: '10.0.1.2' }).udp({}).bytes(),
  },
  {
    name: 'no rule that allows',
    code: 133,
    says: /closed by a policy and no rule allows/,
    frame: ({ client }) => ip(client, '10.0.1.2').tcp({ to: 80, flags: 'SYN' }).bytes(),
  },
  {
    name: 'a deny rule, which is named',
    code: 181,
    says: /CiliumNetworkPolicy default\/deny-all/,
    frame: ({ client }) => ip(client, '10.0.1.3').tcp({ to: 80, flags: 'SYN' }).bytes(),
  },
  {
    name: 'a header that contradicts itself',
    code: 134,
    says: /contradicts itself/,
    frame: ({ client }) =>
      link(client).ipv4({ from: client.address, to: '10.0.1.2', version: 5 }).udp({}).bytes(),
  },
  {
    name: 'a transport header cut short',
    code: 135,
    says: /cut short/,
    frame: ({ client }) =>
      link(client)
        .ipv4({ from: client.address, to: '10.0.1.2', protocol: 6 })
        .payload('xx')
        .bytes(),
  },
  {
    name: 'a transport protocol that is not tracked',
    code: 137,
    says: /Only TCP, UDP, SCTP and ICMP are tracked/,
    frame: ({ client }) =>
      link(client)
        .ipv4({ from: client.address, to: '10.0.1.2', protocol: 47 })
        .payload('x')
        .bytes(),
  },
  {
    name: 'IPv6',
    code: 139,
    says: /IPv6 is not forwarded/,
    frame: ({ client }) => link(client).ipv6({}).udp({}).bytes(),
  },
  {
    name: 'a port that the service does not have',
    code: 158,
    says: /the port is none of it/,
    frame: ({ client }) => segment(client, 40_000, 'SYN', VIP, 81),
  },
  {
    name: 'a destination that nobody here has',
    code: 151,
    says: /Nobody here has the destination/,
    port: ({ node }) => node.host,
    frame: () =>
      eth({ from: HOST_MAC, to: NODE_MAC })
        .ipv4({ from: NODE_ADDRESS, to: '10.0.1.77' })
        .udp({})
        .bytes(),
  },
  {
    name: 'a later fragment without its first',
    code: 175,
    says: /first one was not seen/,
    frame: ({ client }) =>
      link(client)
        .ipv4({ from: client.address, to: '10.0.1.2', fragmentOffset: 185, protocol: 17 })
        .payload('xxxxxxxx')
        .bytes(),
  },
]

for (const { name, code, says, frame, port } of CAUSES) {
  t.test(`a drop is explained: ${name} (${code})`, async (t) => {
    const made = world()
    const { node } = made
    t.teardown(() => node.close())
    node.send(port?.(made) ?? made.client.port, frame(made))
    const [event] = node.events(EventType.DROP)
    if (event === undefined) throw new Error('nothing was dropped')
    const flow = flowOf(event, 1, new Date())
    t.equal(flow.dropCode, code)
    const { answer, now } = whyDropped(
      flow,
      node.maps,
      names,
      new Explainer(node.maps, names),
      1000,
    )
    t.match(answer.join('\n'), says)
    t.equal(now?.dropCode, code, 'the sample alone is enough to see it again')
    t.ok((now?.steps.length ?? 0) > 0)
  })
}

t.test('a trace follows a service to its backend and names both', async (t) => {
  const { node, client } = world()
  t.teardown(() => node.close())
  node.controller.setService(service([{ address: '10.0.1.3', port: 8080 }]))
  const explanation = new Explainer(node.maps, names).run(segment(client, 40_000), 1, 1000)
  const stages = explanation.steps.map(({ stage }) => stage)
  t.same(stages.slice(0, 3), ['entry', 'IPV4_FROM_LXC', 'IPV4_CT_EGRESS'])
  const notes = explanation.steps.flatMap((step) => step.notes).join('\n')
  t.match(notes, /service: ClusterIP 10.96.0.10:80\/TCP, backends: 1, chosen by random/)
  t.match(notes, /rewritten: 10.0.1.1:40000 → 10.96.0.10:80 became 10.0.1.1:40000 → 10.0.1.3:8080/)
  t.match(notes, /connection: NEW/)
})

t.test('a trace says that the port it leaves by has no device', async (t) => {
  const { node, client } = world()
  t.teardown(() => node.close())
  node.pod()
  node.controller.setService(service([{ address: '10.0.1.4', port: 8080 }]))
  const trace = () => new Explainer(node.maps, names).run(segment(client, 40_000), 1, 1000)
  const { egress = '' } = trace()
  t.match(egress, /\(\w+/)
  t.notMatch(egress, 'not attached')
  const report = { isNative: false, isZeroCopy: false }
  for (let port = 0; port < PORTS_MAX; port++) {
    if (node.maps.ports.mode(port) === PortMode.NONE) continue
    node.maps.ports.setReport(port, 1, { ...report, status: PortStatus.FAILED, errno: 19 })
  }
  const explanation = trace()
  t.equal(explanation.egress, egress.replace(')', ', not attached: ENODEV, so it is lost)'))
  t.match(explanation.steps.at(-1)?.notes.join('\n'), /not attached: ENODEV/)
})

t.test('a capture is replayed frame by frame, by the port of each sender', async (t) => {
  const { node, client, closed } = world()
  t.teardown(() => node.close())
  const directory = mkdtempSync(join(tmpdir(), 'rp-replay-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'x.pcapng')
  const writer = createCapture(path)
  const interfaceIndex = writer.addInterface({ name: 'x', linkType: 1, snapLength: 0 })
  const frames = [
    ip(closed, client.address).udp({ from: 5, to: 6 }).bytes(),
    ip(client, closed.address).udp({ from: 6, to: 5 }).bytes(),
    ip(client, closed.address).udp({ from: 7, to: 5 }).bytes(),
    truncated(ip(client, closed.address).udp({}).bytes(), 20),
  ]
  let time = 1_000_000_000n
  for (const frame of frames) {
    time += 1_000_000n
    writer.write(interfaceIndex, time, frame)
  }
  writer.close()
  const rows = endpointRows(node.maps, names, 0)
  const replayed = [...replay(readFileSync(path), node.maps, names, rows, { nowSeconds: 1000 })]
  t.same(
    replayed.map(({ number, explanation }) => `${number} ${explanation.dropCode ?? 'passed'}`),
    ['1 passed', '2 passed', '3 133', '4 134'],
    'the reply passes, for the capture made the connection',
  )
})

t.test('the flow log keeps the newest, filters, and tells who follows', async (t) => {
  const { node, client } = world()
  t.teardown(() => node.close())
  const log = new FlowLog(node.maps.events)
  const followed: number[] = []
  const stop = log.follow((flow) => followed.push(flow.id))
  for (let i = 1; i <= 3; i++) node.send(client.port, ip(client, '10.0.1.2').udp({ to: i }).bytes())
  log.poll()
  stop()
  t.equal(followed.length, log.count)
  const drops = log.last(10, flowMatcher({ is: { reason: ['POLICY_DENIED'] } }), true)
  t.same(
    drops.map((flow) => flow.destinationPort),
    [1, 2, 3],
  )
  t.same(
    log.last(1, flowMatcher({ is: { port: ['2'], verdict: ['dropped'] } }))[0]?.destinationPort,
    2,
  )
  t.equal(
    log.last(10, flowMatcher({ is: { source: ['10.0.1.0/24'], destination: ['10.0.9.0/24'] } }))
      .length,
    0,
  )
  t.equal(log.find(drops[0]?.id ?? 0), drops[0])
  t.equal(log.find(999_999), undefined)
})

t.end()
