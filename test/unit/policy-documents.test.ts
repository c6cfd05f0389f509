/** Policy documents as rules: what Kubernetes and Cilium leave to custom is written out. */
import t from 'tap'
import { desiredState } from '../../src/k8s/desired-state.js'
import { parseDocuments } from '../../src/k8s/documents.js'
import { podLabels, rulesOf } from '../../src/k8s/policies.js'
import { problemText } from '../../src/k8s/problem.js'
import { LabelSet, selects } from '../../src/policy-rules/labels.js'
import { checkRule } from '../../src/policy-rules/rule-check.js'
import type { RuleSpec } from '../../src/policy-rules/rule-spec.js'

const kubernetes = (spec: string): RuleSpec => {
  const head = 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy'
  return only(`${head}\nmetadata: { name: p, namespace: shop }\nspec: ${spec}`)
}
const cilium = (spec: string): RuleSpec => {
  const head = 'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy'
  return only(`${head}\nmetadata: { name: p, namespace: shop }\nspec: ${spec}`)
}
const clusterwide = (spec: string): RuleSpec => {
  const head = 'apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy'
  return only(`${head}\nmetadata: { name: p }\nspec: ${spec}`)
}

function only(text: string): RuleSpec {
  const [document] = parseDocuments(text, 'file.yaml')
  if (document === undefined) throw new Error('no document')
  const [rule, ...more] = rulesOf(document)
  if (rule === undefined || more.length > 0) throw new Error('not one rule')
  checkRule(rule)
  return rule
}

const SHOP_WEB = new LabelSet(podLabels('shop', { app: 'web' }))
const SHOP_DB = new LabelSet(podLabels('shop', { app: 'db' }))
const OTHER_WEB = new LabelSet(podLabels('other', { app: 'web' }))

/** Which of the three pods the only selector of the only section finds. */
const found = (rule: RuleSpec): boolean[] => {
  const [selector = {}] = rule.ingress?.[0]?.peers?.endpoints ?? []
  return [SHOP_WEB, SHOP_DB, OTHER_WEB].map((labels) => selects(selector, labels))
}

t.test('a policy is for pods of its own namespace', async (t) => {
  for (const rule of [
    kubernetes('{ podSelector: { matchLabels: { app: web } } }'),
    cilium('{ endpointSelector: { matchLabels: { app: web } }, ingress: [] }'),
  ]) {
    const subjects = rule.endpointSelector ?? {}
    t.equal(selects(subjects, SHOP_WEB), true)
    t.equal(selects(subjects, SHOP_DB), false)
    t.equal(selects(subjects, OTHER_WEB), false)
  }
})

t.test('policyTypes say which directions are closed; egress only if it is there', async (t) => {
  t.match(kubernetes('{ podSelector: {} }'), { ingress: [], egress: undefined })
  t.match(kubernetes('{ podSelector: {}, egress: [{}] }'), { ingress: [], egress: [{}] })
  t.match(kubernetes('{ policyTypes: [Egress] }'), { ingress: undefined, egress: [] })
})

t.test(
  'a Kubernetes section without peers is for everybody, and so is an empty list',
  async (t) => {
    t.same(kubernetes('{ podSelector: {}, ingress: [{}] }').ingress, [{}])
    t.same(kubernetes('{ podSelector: {}, ingress: [{ from: [], ports: [] }] }').ingress, [{}])
  },
)

t.test('an empty Cilium rule admits nobody; one with ports alone admits everybody', async (t) => {
  const nobody = { endpoints: [], entities: [], cidrs: [] }
  t.same(cilium('{ endpointSelector: {}, ingress: [{}] }').ingress, [{ peers: nobody }])
  const ports = cilium(
    '{ endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port: "80" }] }] }] }',
  )
  t.same(ports.ingress, [{ ports: [{ protocol: 'ANY', port: 80 }] }])
  const none = cilium('{ endpointSelector: {}, ingress: [{ fromEndpoints: [] }] }')
  t.same(none.ingress, [{ peers: nobody }])
})

t.test('peers of a namespaced policy are of its namespace unless they name one', async (t) => {
  const web = '{ matchLabels: { app: web } }'
  t.same(found(kubernetes(`{ ingress: [{ from: [{ podSelector: ${web} }] }] }`)), [
    true,
    false,
    false,
  ])
  t.same(found(kubernetes('{ ingress: [{ from: [{ namespaceSelector: {} }] }] }')), [
    true,
    true,
    true,
  ])
  const other = '{ matchLabels: { kubernetes.io/metadata.name: other } }'
  t.same(
    found(
      kubernetes(`{ ingress: [{ from: [{ namespaceSelector: ${other}, podSelector: ${web} }] }] }`),
    ),
    [false, false, true],
  )
  const from = (selector: string) =>
    found(cilium(`{ endpointSelector: {}, ingress: [{ fromEndpoints: [${selector}] }] }`))
  t.same(from(web), [true, false, false])
  t.same(from('{ matchLabels: { "k8s:io.kubernetes.pod.namespace": other } }'), [
    false,
    false,
    true,
  ])
})

t.test('a clusterwide policy means pods of every namespace', async (t) => {
  const rule = clusterwide(
    '{ endpointSelector: {}, ingress: [{ fromEndpoints: [{ matchLabels: { app: web } }] }] }',
  )
  t.same(found(rule), [true, false, true])
  t.match(clusterwide('{ nodeSelector: {}, ingress: [] }'), { nodeSelector: {}, ingress: [] })
})

t.test('ports, ranges, names, ICMP types, prefixes and entities are carried over', async (t) => {
  const rule = kubernetes(`{ ingress: [{
    from: [{ ipBlock: { cidr: 10.0.0.0/8, except: [10.1.0.0/16] } }],
    ports: [{ port: 80 }, { protocol: UDP, port: 100, endPort: 200 }, { port: http }] }] }`)
  t.same(rule.ingress, [
    {
      peers: { endpoints: [], cidrs: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }] },
      ports: [
        { protocol: 'TCP', port: 80 },
        { protocol: 'UDP', port: 100, endPort: 200 },
        { protocol: 'TCP', port: 'http' },
      ],
    },
  ])
  const egress = cilium(`{ endpointSelector: {}, egressDeny: [{ toEntities: [world, host],
    icmps: [{ fields: [{ type: 8 }] }] }], enableDefaultDeny: { egress: false } }`)
  t.match(egress, {
    egressDeny: [{ peers: { entities: ['world', 'host'] }, icmps: [{ type: 8 }] }],
    enableDefaultDeny: { egress: false },
  })
})

t.test('what only the rules’ own check sees is told by document', async (t) => {
  const text = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p }
spec:
  ingress: [{ from: [{ ipBlock: { cidr: 10.0.0.0/8, except: [192.0.2.0/24] } }] }]
`
  const node = 'apiVersion: ringpath.io/v1\nkind: Node\nmetadata: { name: n }\nspec: {}'
  const [document] = parseDocuments(node, 'node.yaml')
  if (document?.body.kind !== 'Node') throw new Error('no node')
  const { problems } = desiredState(parseDocuments(text, 'file.yaml'), document.body)
  t.match(problems.map(problemText), [
    /^file.yaml:5: NetworkPolicy p: spec: .*192.0.2.0\/24.*, expected a prefix within 10.0.0.0\/8/,
  ])
})

t.end()
