/** CiliumLocalRedirectPolicy: what its documents mean for services, and what that does to packets. */
import t from 'tap'
import { desiredState } from '../../src/k8s/desired-state.js'
import { ofKind, parseDocuments, readDocuments } from '../../src/k8s/documents.js'
import { problemText } from '../../src/k8s/problem.js'
import { checkPacket } from '../support/packet-checker.js'
import { ip, segment, sendTo, VIP } from '../support/service-node.js'
import { TestNode } from '../support/test-node.js'

const NODE = 'apiVersion: ringpath.io/v1\nkind: Node\nmetadata: { name: n }\nspec: {}\n'

const endpoint = (name: string, address: string, namespace = 'default') => `---
apiVersion: ringpath.io/v1
kind: Endpoint
metadata: { name: ${name}, namespace: ${namespace}, labels: { app: ${name} } }
spec: { device: lxc-${name}, address: ${address}, mac: "02:00:00:00:00:01" }
`
const policy = (frontend: string, ports = '[{ port: "53", protocol: UDP }]', more = '') => `---
apiVersion: cilium.io/v2
kind: CiliumLocalRedirectPolicy
metadata: { name: local }
spec:
  redirectFrontend: ${frontend}
  redirectBackend:
    localEndpointSelector: { matchLabels: { app: cache } }
    toPorts: ${ports}
  ${more}
`
const ADDRESS = '{ addressMatcher: { ip: 192.0.2.9, toPorts: [{ port: "53", protocol: UDP }] } }'
const SERVICE = `---
apiVersion: v1
kind: Service
metadata: { name: dns }
spec:
  clusterIP: 10.96.0.10
  externalIPs: [192.0.2.7]
  selector: { app: server }
  ports: [{ name: dns, port: 53, protocol: UDP }, { name: dns-tcp, port: 53, protocol: TCP }]
`
const CACHE = endpoint('cache', '10.0.1.2')

function plan(text: string) {
  const [node] = ofKind(parseDocuments(NODE, 'node.yaml'), 'Node')
  if (node === undefined) throw new Error('no node')
  const { state, problems } = desiredState(parseDocuments(text, 'file.yaml'), node.body)
  const specs = new Map(state.services.map(({ spec }) => [spec.name, spec]))
  return { specs, problems: problems.map(problemText) }
}

const backends = (text: string, name: string) =>
  plan(text)
    .specs.get(name)
    ?.backends.map(({ address, port }) => `${address}:${port}`)

t.test('an address becomes a frontend whose backends are the selected pods here', async (t) => {
  const { specs } = plan(policy(ADDRESS, '[{ port: 5353, protocol: UDP }]') + CACHE)
  t.match(specs.get('default/local:local-redirect:53'), {
    frontends: [{ address: '192.0.2.9', port: 53, protocol: 'UDP', type: 'LocalRedirect' }],
    backends: [{ address: '10.0.1.2', port: 5353, isLocal: true }],
    isLocalRedirect: true,
  })
})

t.test('an address without a pod here is not redirected', async (t) => {
  t.equal(plan(policy(ADDRESS)).specs.size, 0)
  t.equal(plan(policy(ADDRESS) + endpoint('cache', '10.0.1.2', 'other')).specs.size, 0)
})

t.test('a service’s cluster address gets the pods; its other addresses keep theirs', async (t) => {
  const matcher = '{ serviceMatcher: { serviceName: dns, namespace: default } }'
  const ports =
    '[{ port: "53", protocol: UDP, name: dns }, { port: "53", protocol: TCP, name: dns-tcp }]'
  const text = policy(matcher, ports) + SERVICE + endpoint('server', '10.0.1.3')
  t.same(backends(text, 'default/dns:dns'), ['10.0.1.3:53'], 'no pod is selected')
  t.same(backends(text + CACHE, 'default/dns:dns'), ['10.0.1.2:53'])
  t.same(backends(text + CACHE, 'default/dns:dns-tcp'), ['10.0.1.2:53'])
  t.same(backends(text + CACHE, 'default/dns:dns:external'), ['10.0.1.3:53'])
  const { specs } = plan(text + CACHE)
  t.match(specs.get('default/dns:dns'), {
    isLocalRedirect: true,
    frontends: [{ address: '10.96.0.10', type: 'ClusterIP' }],
  })
})

t.test('toPorts choose which ports of a service are redirected', async (t) => {
  const matcher =
    '{ serviceMatcher: { serviceName: dns, namespace: default, ' +
    'toPorts: [{ port: "53", protocol: UDP }] } }'
  const text = policy(matcher) + SERVICE + CACHE + endpoint('server', '10.0.1.3')
  t.same(backends(text, 'default/dns:dns'), ['10.0.1.2:53'])
  t.same(backends(text, 'default/dns:dns-tcp'), ['10.0.1.3:53'])
})

t.test('several ports are matched by name', async (t) => {
  const from = `{ addressMatcher: { ip: 192.0.2.9, toPorts: [
    { port: "53", protocol: UDP, name: dns }, { port: "9153", protocol: TCP, name: metrics }] } }`
  const to = `[{ port: "1053", protocol: UDP, name: dns },
        { port: "1153", protocol: TCP, name: metrics }]`
  t.same(backends(policy(from, to) + CACHE, 'default/local:local-redirect:dns'), ['10.0.1.2:1053'])
  t.same(backends(policy(from, to) + CACHE, 'default/local:local-redirect:metrics'), [
    '10.0.1.2:1153',
  ])
})

t.test('what the policy may not say is refused at its field', async (t) => {
  const problems = (text: string) => readDocuments(text, 'f').problems.map(problemText).join('\n')
  const service = (namespace: string) =>
    `{ serviceMatcher: { serviceName: dns, namespace: ${namespace} } }`
  const two = `{ addressMatcher: { ip: 192.0.2.9, toPorts: [
    { port: "53", protocol: UDP, name: dns }, { port: "54", protocol: UDP }] } }`
  const cases: [text: string, told: RegExp][] = [
    [policy('{}'), /redirectFrontend: \{\}, expected either addressMatcher or serviceMatcher/],
    [policy(service('other')), /serviceMatcher.namespace: "other", expected the policy’s own/],
    [policy(two), /toPorts\[1\].name: nothing, expected a name/],
    [policy(ADDRESS, '[{ port: "53", protocol: TCP }]'), /protocol: "UDP", expected TCP/],
    [policy(ADDRESS, '[{ port: "0", protocol: UDP }]'), /port: "0", expected a port from 1/],
    [policy(ADDRESS, '[{ port: dns, protocol: UDP }]'), /port: "dns", expected a port from 1/],
    [policy(ADDRESS, '[]'), /at least one port/],
    [policy(ADDRESS.replace('192.0.2.9', 'fd00::1')), /ip: "fd00::1", expected an IPv4/],
    [
      policy(service('default'), undefined, 'skipRedirectFromBackend: true'),
      /addressMatcher alone/,
    ],
    [policy(ADDRESS, undefined, 'overrideIP: 1.2.3.4'), /spec.overrideIP: .* a field that is/],
    [
      policy(
        two.replace('UDP }]', 'UDP, name: other }]'),
        '[{ port: 5, protocol: UDP, name: dns }]',
      ),
      /toPorts\[1\].name: "other", expected the name of a port of redirectBackend: dns/,
    ],
  ]
  for (const [text, told] of cases) t.match(problems(text), told)
})

t.test('no two may redirect the same, nor what a service has, with a pod or without', async (t) => {
  const matcher = '{ serviceMatcher: { serviceName: dns, namespace: default } }'
  const again = (text: string) => text.replace('name: local', 'name: again')
  t.match(plan(policy(ADDRESS) + again(policy(ADDRESS))).problems, [/both have 192.0.2.9:53/])
  const ofService = ADDRESS.replace('192.0.2.9', '10.96.0.10')
  t.match(plan(policy(ofService) + SERVICE).problems, [/both have 10.96.0.10:53/])
  const twice = policy(matcher) + again(policy(matcher)) + SERVICE
  t.match(plan(twice).problems, [
    /again: .* no other policy redirects: Cilium.* default\/local does/,
  ])
})

t.test('packets to a redirected address go to the pod, and other ports of it do not', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const [client, cache] = [node.pod(), node.pod()]
  const address = '198.51.100.9'
  const redirect = {
    name: 'r',
    frontends: [{ address, port: 80, protocol: 'TCP', type: 'LocalRedirect' }],
    backends: [{ address: cache.address, port: 8080, isLocal: true }],
    isLocalRedirect: true,
  } as const
  node.controller.setService(redirect)
  node.send(client.port, segment(client, 40000, 'SYN', address))
  checkPacket(t, cache.port.take()[0] as Uint8Array, {
    ipv4: { from: client.address, to: cache.address },
    tcp: { from: 40000, to: 8080 },
  })
  const reply = ip(cache, client.address).tcp({ from: 8080, to: 40000, flags: 'SYN ACK' })
  node.send(cache.port, reply.bytes())
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    ipv4: { from: address },
    tcp: { from: 80, to: 40000 },
  })
  node.send(client.port, segment(client, 40001, 'SYN', address, 81))
  t.equal(node.uplink.take().length, 1, 'another port leaves as ever')
  node.send(cache.port, segment(cache, 40002, 'SYN', address))
  t.equal(cache.port.take().length, 1, 'the backend itself is redirected, too')
  node.controller.setService({ ...redirect, skipRedirectFromBackend: true })
  node.send(cache.port, segment(cache, 40003, 'SYN', address))
  t.equal(node.uplink.take().length, 1, 'unless it shall not be')
  node.send(client.port, segment(client, 40004, 'SYN', address))
  t.equal(cache.port.take().length, 1, 'others still are')
  node.controller.deleteService('r')
  node.send(client.port, segment(client, 40005, 'SYN', address))
  t.equal(node.uplink.take().length, 1, 'without the policy, as ever')
  t.same(node.drops(), [])
  node.close()
})

t.test(
  'a redirected ClusterIP changes its backends whole, and still owns its address',
  async (t) => {
    const node = new TestNode()
    const [client, far, near] = [node.pod(), node.pod(), node.pod()]
    const service = (pod: typeof near, isLocalRedirect: boolean) => ({
      name: 'web',
      frontends: [{ address: VIP, port: 80, protocol: 'TCP', type: 'ClusterIP' } as const],
      backends: [{ address: pod.address, port: 8080 }],
      isLocalRedirect,
    })
    node.controller.setService(service(far, false))
    t.equal(sendTo(node, client, [far, near], segment(client, 40000)), far)
    node.controller.setService(service(near, true))
    t.equal(sendTo(node, client, [far, near], segment(client, 40001)), near)
    node.send(client.port, ip(client, VIP).tcp({ from: 1, to: 81, flags: 'SYN' }).bytes())
    t.same(node.drops(), [158], 'an unknown port of its address')
    node.close()
  },
)

t.end()
