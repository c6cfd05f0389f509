/** Namespace documents: their labels are labels of their pods, here and on other nodes. */
import t from 'tap'
import { nodeObjects } from '../../src/daemon/node-objects.js'
import { desiredState } from '../../src/k8s/desired-state.js'
import { ofKind, parseDocuments, readDocuments } from '../../src/k8s/documents.js'
import { problemText } from '../../src/k8s/problem.js'
import { LabelSet, selects } from '../../src/policy-rules/labels.js'
import { PolicyNode, ruleFor } from '../support/policy-node.js'

const NODE = 'apiVersion: ringpath.io/v1\nkind: Node\nmetadata: { name: n }\nspec: {}\n'
const namespace = (labels: string) =>
  `---\napiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: ${labels} }\n`
const POD = `---
apiVersion: ringpath.io/v1
kind: Endpoint
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { device: lxc, address: 10.0.1.1, mac: "02:00:00:00:00:01", nodeMac: "02:00:00:00:00:02" }
`
const PEER = `---
apiVersion: ringpath.io/v1
kind: Peer
metadata: { name: b }
spec: { address: 192.0.2.2, endpoints: [{ address: 10.0.2.1, identity: 300, namespace: shop }] }
`
const POLICY = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p }
spec: { ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: a } } }] }] }
`
const PREFIX = 'k8s:io.cilium.k8s.namespace.labels.'

function plan(text: string) {
  const [node] = ofKind(parseDocuments(NODE, 'node.yaml'), 'Node')
  if (node === undefined) throw new Error('no node')
  const { state, problems } = desiredState(parseDocuments(text, 'f'), node.body)
  const facts = { macOf: () => undefined, idOf: () => undefined }
  return { state, problems, objects: nodeObjects(node.body, state, facts) }
}

const podLabels = (text: string) =>
  plan(text).objects.find(({ kind }) => kind === 'Endpoint')?.spec.labels as Record<string, string>

t.test('labels of a namespace are labels of its pods, and of those of peers', async (t) => {
  const text = namespace('{ team: a, kubernetes.io/metadata.name: forged }') + POD + PEER
  t.same(podLabels(text), {
    'k8s:io.kubernetes.pod.namespace': 'shop',
    [`${PREFIX}team`]: 'a',
    [`${PREFIX}kubernetes.io/metadata.name`]: 'shop',
    'k8s:app': 'web',
  })
  const peer = plan(text).objects.find(({ kind }) => kind === 'Peer')
  t.match(peer?.spec.endpoints, [{ labels: { [`${PREFIX}team`]: 'a' } }])
})

t.test(
  'a namespace selector finds pods by them, and only while the document is there',
  async (t) => {
    const isFound = (text: string): boolean => {
      const [rule] = plan(text + POLICY).state.rules
      const selector = rule?.ingress?.[0]?.peers?.endpoints?.[0] ?? {}
      return selects(selector, new LabelSet(podLabels(text)))
    }
    t.equal(isFound(namespace('{ team: a }') + POD), true)
    t.equal(isFound(namespace('{ team: b }') + POD), false)
    t.equal(isFound(POD), false, 'a pod needs no namespace document')
  },
)

t.test('a namespace selector of an egress gateway asks for the same labels', async (t) => {
  const policy = `---
apiVersion: cilium.io/v2
kind: CiliumEgressGatewayPolicy
metadata: { name: out }
spec:
  selectors: [{ namespaceSelector: { matchLabels: { team: a } } }]
  destinationCIDRs: [0.0.0.0/0]
  egressGateway: { nodeSelector: {}, egressIP: 192.0.2.9 }
`
  t.equal(plan(namespace('{ team: a }') + POD + policy).state.egress.length, 1)
  t.equal(plan(namespace('{}') + POD + policy).state.egress.length, 0)
})

t.test('what a Namespace may not say is refused at its field', async (t) => {
  const problems = (text: string) => readDocuments(text, 'f').problems.map(problemText)
  t.same(problems(`${namespace('{}')}spec: { finalizers: [kubernetes] }\nstatus: {}\n`), [])
  t.match(problems(`${namespace('{}')}spec: { x: 1 }\n`), [/spec.x: 1, expected a field/])
  t.match(problems(namespace('{}').replace('shop', 'Shop')), [/metadata.name: "Shop"/])
  t.match(problems(namespace('{}').replace('shop', 'a.b')), [/metadata.name: "a.b"/])
  t.match(problems(namespace('{ team: 1 }')), [/metadata.labels.team: 1/])
})

t.test('one number of the cluster cannot have two sets of labels', async (t) => {
  const other = PEER.replace('name: b', 'name: c')
    .replace('10.0.2.1', '10.0.3.1')
    .replace('192.0.2.2', '192.0.2.3')
  t.same(plan(PEER + other).problems, [])
  const { problems } = plan(PEER + other.replace('namespace: shop', 'namespace: other'))
  t.match(problems.map(problemText), [/endpoints\[0\].identity: 300, .* labels in Peer b/])
})

t.test(
  'other labels of a learned identity take effect, with the rules that ask for them',
  async (t) => {
    const it = new PolicyNode()
    const web = it.pod({ 'k8s:app': 'web' })
    const peers = { endpoints: [{ matchLabels: { [`${PREFIX}team`]: 'a' } }] }
    it.policies.changeRules({ set: [ruleFor('web', { ingress: [{ peers }] })] })
    it.policies.learnIdentity(300, { [`${PREFIX}team`]: 'b' })
    it.node.controller.setRemote({ prefix: '203.0.113.7', identity: 300 })
    t.notOk(it.connectsFrom('203.0.113.7', web, 80))
    it.policies.learnIdentity(300, { [`${PREFIX}team`]: 'a' })
    it.policies.forgetIdentity(300)
    t.ok(it.connectsFrom('203.0.113.7', web, 80))
    it.node.close()
  },
)

t.end()
