/** Documents together: services with their backends, and what two documents may not both have. */
import t from 'tap'
import { desiredState } from '../../src/k8s/desired-state.js'
import { ofKind, parseDocuments } from '../../src/k8s/documents.js'
import { problemText } from '../../src/k8s/problem.js'
import type { NodeDocument } from '../../src/k8s/ringpath-documents.js'

const node = (spec = '{ host: { addresses: [10.0.0.1] } }'): NodeDocument => {
  const text = `apiVersion: ringpath.io/v1\nkind: Node\nmetadata: { name: n1 }\nspec: ${spec}`
  const [document] = ofKind(parseDocuments(text, 'node.yaml'), 'Node')
  if (document === undefined) throw new Error('no node')
  return document.body
}

const service = (spec: string, name = 'web', metadata = '') =>
  `---\napiVersion: v1\nkind: Service\nmetadata: { name: ${name}${metadata} }\nspec: ${spec}\n`

const slice = (endpoints: string, ports = '[{ port: 8080 }]') => `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
endpoints: ${endpoints}
ports: ${ports}
`

const endpoint = (name: string, spec: string, labels = '{}', namespace = 'default') =>
  `---\napiVersion: ringpath.io/v1\nkind: Endpoint\n` +
  `metadata: { name: ${name}, namespace: ${namespace}, labels: ${labels} }\n` +
  `spec: { mac: "02:00:00:00:00:01", ${spec} }\n`

const plan = (text: string, of = node()) => {
  const { state, problems } = desiredState(parseDocuments(text, 'file.yaml'), of)
  return { state, specs: state.services.map((s) => s.spec), problems: problems.map(problemText) }
}

t.test('a service and its slice become one spec for each port', async (t) => {
  const { specs } = plan(
    service('{ clusterIP: 10.96.0.10, ports: [{ name: a, port: 80 }, { name: b, port: 443 }] }') +
      slice('[{ addresses: [10.0.1.2] }]', '[{ name: a, port: 8080 }, { name: b, port: 8443 }]'),
  )
  t.match(specs, [
    {
      name: 'default/web:a',
      frontends: [{ address: '10.96.0.10', port: 80, protocol: 'TCP', type: 'ClusterIP' }],
      backends: [{ address: '10.0.1.2', port: 8080, state: 'active' }],
    },
    { name: 'default/web:b', backends: [{ port: 8443 }] },
  ])
})

t.test('every address of a service is a frontend; NodePorts have the node’s', async (t) => {
  const { specs } = plan(
    service(`{ type: LoadBalancer, clusterIP: 10.96.0.10, externalIPs: [192.0.2.7],
      loadBalancerIP: 192.0.2.8, ports: [{ port: 80, nodePort: 30080 }] }`),
    node('{ host: { addresses: [10.0.0.1] }, uplinks: [{ device: eth0, address: 192.0.2.1 }] }'),
  )
  t.same(
    specs[0]?.frontends.map((f) => `${f.type} ${f.address}:${f.port}`),
    [
      'ClusterIP 10.96.0.10:80',
      'ExternalIP 192.0.2.7:80',
      'LoadBalancer 192.0.2.8:80',
      'NodePort 10.0.0.1:30080',
      'NodePort 192.0.2.1:30080',
    ],
  )
})

t.test('conditions of an endpoint decide: ready, draining, or not at all', async (t) => {
  const { specs } = plan(
    service('{ clusterIP: 10.96.0.10, ports: [{ port: 80 }] }') +
      slice(`
- { addresses: [10.0.1.1], conditions: { ready: true } }
- { addresses: [10.0.1.2], conditions: { ready: false } }
- { addresses: [10.0.1.3], conditions: { ready: false, serving: true, terminating: true } }
- { addresses: [10.0.1.4], conditions: { ready: false, serving: false, terminating: true } }
- { addresses: [10.0.1.5], nodeName: n2 }`),
  )
  t.same(specs[0]?.backends, [
    { address: '10.0.1.1', port: 8080, state: 'active' },
    { address: '10.0.1.3', port: 8080, state: 'terminating' },
    { address: '10.0.1.5', port: 8080, state: 'active', isLocal: false },
  ])
})

t.test('without slices the selector finds endpoints of the namespace', async (t) => {
  const { specs } = plan(
    service(
      '{ clusterIP: 10.96.0.10, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }',
    ) +
      endpoint('a', 'device: d1, address: 10.0.1.1', '{ app: web }') +
      endpoint('b', 'device: d2, address: 10.0.1.2', '{ app: api }') +
      endpoint('c', 'device: d3, address: 10.0.1.3', '{ app: web }', 'other'),
  )
  t.same(specs[0]?.backends, [{ address: '10.0.1.1', port: 8080 }])
})

t.test('a headless service has no frontend and needs nothing', async (t) => {
  t.same(plan(service('{ clusterIP: None, ports: [{ port: 80 }] }')).specs, [])
})

t.test('affinity, traffic policies, source ranges and algorithm are carried over', async (t) => {
  const { specs } = plan(
    service(
      `{ clusterIP: 10.96.0.10, sessionAffinity: ClientIP, externalTrafficPolicy: Local,
        internalTrafficPolicy: Local, loadBalancerSourceRanges: [192.0.2.0/24],
        ports: [{ port: 80 }] }`,
      'web',
      ', annotations: { service.cilium.io/lb-algorithm: maglev }',
    ),
  )
  t.match(specs[0], {
    sessionAffinitySeconds: 10_800,
    algorithm: 'maglev',
    externalTrafficPolicy: 'Local',
    internalTrafficPolicy: 'Local',
    sourceRanges: ['192.0.2.0/24'],
  })
})

t.test('an object twice, and two in one place, are told with where the other is', async (t) => {
  const twice = service('{ clusterIP: 10.96.0.10, ports: [{ port: 80 }] }').repeat(2)
  t.match(plan(twice).problems, [
    /Service web: metadata.name.*file.yaml does not have already/,
    /./,
  ])
  const { problems } = plan(
    endpoint('a', 'id: 1, device: d1, address: 10.0.1.1') +
      endpoint('b', 'id: 1, device: d1, address: 10.0.1.1'),
  )
  t.equal(problems.length, 3)
  t.match(problems[0], /spec.id: 1, expected another one than that of Endpoint default\/a/)
})

t.test('two services with one frontend are refused', async (t) => {
  const spec = '{ clusterIP: 10.96.0.10, ports: [{ port: 80 }] }'
  t.match(plan(service(spec, 'a') + service(spec, 'b')).problems, [
    /Service b: spec: .*both have 10.96.0.10:80\/TCP/,
  ])
})

t.test('several ports need names; a ClusterIP has no node port', async (t) => {
  const { problems } = plan(
    service('{ clusterIP: 10.96.0.10, ports: [{ port: 80, name: a }, { port: 81 }] }') +
      service('{ clusterIP: 10.96.0.11, ports: [{ port: 80, nodePort: 30000 }] }', 'b'),
  )
  t.match(problems, [/ports\[1\].name: nothing/, /ports\[0\].nodePort: 30000/])
})

t.test('an egress policy finds pods here and elsewhere, and its gateway', async (t) => {
  const policy = (gateway: string) => `---
apiVersion: cilium.io/v2
kind: CiliumEgressGatewayPolicy
metadata: { name: out }
spec:
  selectors: [{ podSelector: { matchLabels: { app: web } } }]
  destinationCIDRs: [0.0.0.0/0]
  excludedCIDRs: [10.0.0.0/8]
  egressGateway: { nodeSelector: { matchLabels: { gateway: ${gateway} } }, egressIP: 192.0.2.9 }
`
  const peer = `---
apiVersion: ringpath.io/v1
kind: Peer
metadata: { name: b, labels: { gateway: here } }
spec:
  address: 192.0.2.2
  endpoints: [{ address: 10.0.2.1, identity: 300, labels: { app: web } }]
`
  const pods = endpoint('a', 'device: d1, address: 10.0.1.1', '{ app: web }')
  const others = endpoint('c', 'device: d2, address: 10.0.1.2', '{ app: db }')
  t.same(plan(policy('here') + peer + pods + others).state.egress, [
    {
      sources: ['10.0.1.1', '10.0.2.1'],
      destinations: ['0.0.0.0/0'],
      excluded: ['10.0.0.0/8'],
      gateway: '192.0.2.2',
      egressAddress: '192.0.2.9',
    },
  ])
  t.notOk('gateway' in (plan(policy('nowhere') + peer + pods).state.egress[0] ?? {}))
  t.same(plan(policy('here') + others).state.egress, [])
})

t.test('the node’s own document is not one of its manifests', async (t) => {
  const text = 'apiVersion: ringpath.io/v1\nkind: Node\nmetadata: { name: x }\nspec: {}'
  t.match(plan(text).problems, [/Node x: kind: "Node"/])
})

t.end()
