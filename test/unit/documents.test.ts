/** Documents: what is taken, and what is said of what is not. */
import t from 'tap'
import { parseDocuments, readDocuments } from '../../src/k8s/documents.js'
import { type DocumentError, problemText } from '../../src/k8s/problem.js'
import { seededPrng } from '../support/seed.js'

const ENDPOINT = `
apiVersion: ringpath.io/v1
kind: Endpoint
metadata: { name: client, labels: { app: client } }
spec: { device: lxc-client, address: 10.0.1.1, mac: "02:00:00:00:00:01" }
`
const SERVICE = `
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  clusterIP: 10.96.0.10
  ports: [{ port: 80, targetPort: 8080 }]
`

/** Every problem of the text, as an operator reads it. */
const problems = (text: string): string[] =>
  readDocuments(text, 'file.yaml').problems.map(problemText)

/** The service with lines put under spec. */
const serviceWith = (lines: string): string => {
  const head = 'apiVersion: v1\nkind: Service\nmetadata: { name: web }'
  return `${head}\nspec:\n  ports: [{ port: 80 }]\n  ${lines}\n`
}

t.test('several documents of a text are read in order, empty ones left out', async (t) => {
  const documents = parseDocuments(`---${ENDPOINT}---\n---${SERVICE}`, 'file.yaml')
  t.same(
    documents.map(({ key }) => key),
    ['Endpoint default/client', 'Service default/web'],
  )
})

t.test('JSON is read as YAML is, and a List taken apart', async (t) => {
  const item = {
    apiVersion: 'ringpath.io/v1',
    kind: 'Peer',
    metadata: { name: 'b' },
    spec: { address: '192.0.2.2' },
  }
  const list = { apiVersion: 'v1', kind: 'List', items: [item] }
  t.same(
    parseDocuments(JSON.stringify(list), 'request').map(({ key }) => key),
    ['Peer b'],
  )
})

t.test('what kubectl adds to an object disturbs nobody', async (t) => {
  const exported = `
apiVersion: v1
kind: Service
metadata:
  name: web
  uid: 123
  creationTimestamp: "2026-01-01T00:00:00Z"
  annotations: { kubectl.kubernetes.io/last-applied-configuration: "{}" }
  resourceVersion: "17"
spec: { clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10], ports: [{ port: 80 }] }
status: { loadBalancer: {} }
`
  t.same(problems(exported.replace('uid: 123', 'uid: "123"')), [])
})

t.test('a problem names file, line, object, field, value and what was expected', async (t) => {
  t.same(problems(SERVICE.replace('port: 80', 'port: 70000')), [
    'file.yaml:7: Service web: spec.ports[0].port: 70000, expected a whole number from 1 to 65535',
  ])
})

t.test('all problems of a document are told at once, and those of others too', async (t) => {
  const bad = ENDPOINT.replace('10.0.1.1', '10.0.1.300').replace('02:00:00:00:00:01', 'x')
  const texts = problems(`${bad}---\n${SERVICE.replace('port: 80', 'port: 0')}`)
  t.equal(texts.length, 3)
  t.match(texts[0], 'spec.address: "10.0.1.300", expected an IPv4 address')
  t.match(texts[1], 'spec.mac: "x", expected a MAC address')
  t.match(texts[2], 'spec.ports[0].port: 0')
})

t.test('a field that is not supported is refused by its name', async (t) => {
  t.match(problems(serviceWith('trafficDistribution: PreferClose')), [
    /:6: Service web: spec.trafficDistribution: "PreferClose", expected a field that is supported/,
  ])
  t.match(problems(`${SERVICE}unknown: 1`), [/Service web: unknown: 1/])
})

t.test('a missing field is told as nothing, at the line of what it is missing in', async (t) => {
  t.match(problems(ENDPOINT.replace('device: lxc-client, ', '')), [
    /file.yaml:5: Endpoint client: spec.device: nothing, expected a device name/,
  ])
})

t.test('values of services that the datapath has no way to carry out are refused', async (t) => {
  const cases: [string, string][] = [
    ['type: ExternalName', 'one of ClusterIP, NodePort, LoadBalancer'],
    ['clusterIP: fd00::1', 'an IPv4 address, or None'],
    ['ipFamilies: [IPv6]', 'one of IPv4'],
    ['sessionAffinity: Cookie', 'one of None, ClientIP'],
    ['loadBalancerSourceRanges: [10.0.0.0]', 'an IPv4 prefix'],
    ['externalIPs: [300.0.0.1]', 'an IPv4 address'],
    ['sessionAffinityConfig: { clientIP: { timeoutSeconds: 0 } }', 'from 1 to 86400'],
  ]
  for (const [line, expected] of cases) {
    const [text = '', ...more] = problems(serviceWith(line))
    t.ok(text.includes(expected), `${line}: ${text}`)
    t.same(more, [])
  }
})

t.test('an unknown kind, and a known one of another version, are refused', async (t) => {
  const [kind = ''] = problems('apiVersion: v1\nkind: Pod\nmetadata: { name: x }\n')
  t.match(kind, 'file.yaml:2: Pod x: kind: "Pod", expected one of: ringpath.io/v1 Node;')
  const [version = ''] = problems(SERVICE.replace('apiVersion: v1', 'apiVersion: v2'))
  t.match(version, 'apiVersion: "v2", expected one of: v1 Service')
})

t.test('what is no document is told, wherever it stands', async (t) => {
  t.match(problems('- 1\n'), [/document 1: \[1\], expected a mapping with apiVersion and kind/])
  t.match(problems('kind: Service\n'), [/apiVersion: nothing/])
  t.match(problems('a: [1\nb: 2\n'), [/file.yaml:\d: document 1: .*, expected YAML or JSON/])
  t.match(problems('b:\n  a: 1\n  a: 2\n'), [/:3: document 1: the key "a" a second time/])
  t.match(problems('just words'), [/document 1: "just words"/])
})

t.test('hostile text is bounded', async (t) => {
  t.match(problems('['.repeat(100_000)), [/nested too deep/])
  t.match(problems('- '.repeat(10_000)), [/nested too deep/])
  t.match(problems('x'.repeat(5_000_000)), [/5000000 characters/])
  t.match(problems('a: &a [1]\nb: *a\n'), [/alias/i])
  t.match(problems('a: !!js/function 1\n'), [/.+/])
  t.match(problems('? [1]\n: 2\n'), [/.+/])
})

t.test('whatever the text is, the answer is documents or problems', async (t) => {
  const random = seededPrng(t)
  const whole = `${ENDPOINT}---${SERVICE}`
  const scraps = [
    '{',
    '}',
    '[',
    ']',
    ':',
    '- ',
    '&a ',
    '*a',
    '!!x ',
    '"',
    "'",
    '\n',
    '  ',
    '---',
    '0x',
    '|',
  ]
  for (let i = 0; i < 500; i++) {
    let text = whole
    for (let edits = random.below(4) + 1; edits > 0; edits--) {
      const at = random.below(text.length)
      const end = at + random.below(12)
      text = text.slice(0, at) + (scraps[random.below(scraps.length)] ?? '') + text.slice(end)
    }
    const { problems } = readDocuments(text, 'file.yaml')
    for (const problem of problems) if (!/, expected ./.test(problemText(problem))) t.fail(text)
  }
  t.pass('none threw')
})

t.test('prototype names are fields like others', async (t) => {
  t.match(problems(serviceWith('__proto__: { x: 1 }')), [/__proto__/])
  t.match(problems(serviceWith('constructor: 1')), [/constructor/])
})

t.test('names, labels and namespaces are those of Kubernetes', async (t) => {
  const named = (metadata: string) =>
    problems(`apiVersion: v1\nkind: Service\nmetadata: ${metadata}\nspec: { ports: [{ port: 1 }] }`)
  t.same(named('{ name: a.b-c, namespace: n-1, labels: { a/b: "" } }'), [])
  t.match(named('{ name: A }'), [/metadata.name: "A"/])
  t.match(named('{ name: a, namespace: a.b }'), [/metadata.namespace: "a.b"/])
  t.match(named('{ name: a, labels: { x: 1 } }'), [/metadata.labels.x: 1/])
})

t.test('a slice needs the label that names its service, and IPv4 addresses', async (t) => {
  const slice = (labels: string, type = 'IPv4') => `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, labels: ${labels} }
addressType: ${type}
endpoints: [{ addresses: [10.0.1.2], conditions: { ready: true } }]
ports: [{ port: 8080 }]
`
  t.same(problems(slice('{ kubernetes.io/service-name: web }')), [])
  t.match(problems(slice('{}')), [/metadata.labels\["kubernetes.io\/service-name"\]: nothing/])
  t.match(problems(slice('{ kubernetes.io/service-name: web }', 'FQDN')), [/addressType: "FQDN"/])
})

t.test('network policies: what has no meaning or is not supported is refused', async (t) => {
  const policy = (spec: string) =>
    problems(
      `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p }\nspec: ${spec}`,
    )
  t.same(policy('{ podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] }'), [])
  const block = '{ ipBlock: { cidr: 10.0.0.0/8 }, podSelector: {} }'
  t.match(policy(`{ podSelector: {}, ingress: [{ from: [${block}] }] }`), [/either ipBlock/])
  t.match(policy('{ podSelector: {}, ingress: [{ ports: [{ endPort: 5 }] }] }'), [/without a port/])
  t.match(policy('{ podSelector: {}, ingress: [{ ports: [{ port: 9, endPort: 5 }] }] }'), [
    /at least port/,
  ])
  t.match(policy('{ podSelector: { matchExpressions: [{ key: a, operator: In }] } }'), [
    /matchExpressions\[0\].values: nothing, expected values with In/,
  ])
})

t.test('Cilium policies: rules of layer 7 and of names are refused by name', async (t) => {
  const policy = (spec: string) =>
    problems(
      `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { name: p }\nspec: ${spec}`,
    )
  const from = 'fromEndpoints: [{ matchLabels: { app: a } }]'
  const ports = 'toPorts: [{ ports: [{ port: "80", protocol: TCP }] }]'
  t.same(policy(`{ endpointSelector: {}, ingress: [{ ${from}, ${ports} }] }`), [])
  t.match(policy('{ endpointSelector: {}, egress: [{ toFQDNs: [{ matchName: a }] }] }'), [
    /spec.egress\[0\].toFQDNs/,
  ])
  const http = '{ endpointSelector: {}, ingress: [{ toPorts: [{ ports: [], rules: {} }] }] }'
  t.match(policy(http).join('\n'), 'spec.ingress[0].toPorts[0].rules')
  t.match(policy('{ endpointSelector: {}, specs: 1 }').join('\n'), 'specs')
})

t.test('parseDocuments throws ECONFIG_INVALID with all problems', async (t) => {
  try {
    parseDocuments('kind: 1\n---\nkind: 2\n', 'request')
    t.fail('no error')
  } catch (error) {
    t.equal((error as DocumentError).code, 'ECONFIG_INVALID')
    t.equal((error as DocumentError).problems.length, 4)
  }
})

t.end()
