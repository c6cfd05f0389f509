/** Rules over labels, entities and prefixes, as packets on a node in memory meet them. */
import t from 'tap'
import { Identity } from '../../src/identity/identity.js'
import { isLocalIdentity } from '../../src/policy-rules/identity-registry.js'
import type { Entity } from '../../src/policy-rules/rule-spec.js'
import { eth } from '../support/packet-builder.js'
import { apps, PolicyNode, ruleFor, tcp } from '../support/policy-node.js'
import { NODE_ADDRESS, NODE_MAC } from '../support/test-node.js'

const OUTSIDE = '198.51.100.1'

t.test('a rule admits the pods that its selector selects, those to come too', async (t) => {
  const it = new PolicyNode()
  const web = it.pod({ 'k8s:app': 'web' })
  const db = it.pod({ 'k8s:app': 'db' })
  t.ok(it.connects(db, web, 80), 'without rules everything is open')
  const ingress = [{ peers: apps('web'), ...tcp(5432) }]
  it.policies.changeRules({ set: [ruleFor('db', { ingress })] })
  t.ok(it.connects(web, db, 5432))
  t.notOk(it.connects(web, db, 5433))
  const job = it.pod({ 'k8s:app': 'job' })
  t.notOk(it.connects(job, db, 5432))
  t.ok(it.connects(it.pod({ 'k8s:app': 'web', 'k8s:zone': 'b' }), db, 5432), 'a new identity')
  it.policies.setEndpointLabels(job.id, { 'k8s:app': 'web' })
  t.ok(it.connects(job, db, 5432), 'other labels, other rights')
  t.ok(it.connects(db, web, 80), 'a direction that no rule is for stays open')
  it.policies.changeRules({ delete: ['rule of db'] })
  t.ok(it.connects(web, db, 1))
  it.node.close()
})

t.test('a prefix with an exception admits all of it but the exception, in and out', async (t) => {
  const it = new PolicyNode()
  const pod = it.pod({ 'k8s:app': 'web' })
  const peers = { cidrs: [{ cidr: '203.0.113.0/24', except: ['203.0.113.64/26'] }] }
  it.policies.changeRules({ set: [ruleFor('web', { ingress: [{ peers }], egress: [{ peers }] })] })
  for (const [address, isIn] of [
    ['203.0.113.1', true],
    ['203.0.113.63', true],
    ['203.0.113.64', false],
    ['203.0.113.127', false],
    ['203.0.113.128', true],
    ['203.0.112.255', false],
    [OUTSIDE, false],
  ] as const) {
    t.equal(it.connectsFrom(address, pod, 80), isIn, `from ${address}`)
    t.equal(it.connectsTo(pod, address, 80), isIn, `to ${address}`)
  }
  t.ok(isLocalIdentity(it.identityOf('203.0.113.1')))
  t.not(it.identityOf('203.0.113.64'), it.identityOf('203.0.113.63'))
  it.policies.changeRules({ delete: ['rule of web'] })
  t.equal(it.identityOf('203.0.113.1'), Identity.WORLD, 'the identities go with the last rule')
  it.node.close()
})

t.test('an entity stands for its identities', async (t) => {
  const it = new PolicyNode()
  const web = it.pod({ 'k8s:app': 'web' })
  const other = it.pod({ 'k8s:app': 'other' })
  const cidrs = [{ cidr: '203.0.113.0/24' }]
  const apart = ruleFor('nobody', { name: 'prefix', ingress: [{ peers: { cidrs } }] })
  const cases: [Entity, { host: boolean; pod: boolean; outside: boolean; prefix: boolean }][] = [
    ['all', { host: true, pod: true, outside: true, prefix: true }],
    ['world', { host: false, pod: false, outside: true, prefix: true }],
    ['world-ipv4', { host: false, pod: false, outside: true, prefix: true }],
    ['world-ipv6', { host: false, pod: false, outside: false, prefix: false }],
    ['cluster', { host: true, pod: true, outside: false, prefix: false }],
    ['host', { host: true, pod: false, outside: false, prefix: false }],
    ['remote-node', { host: false, pod: false, outside: false, prefix: false }],
  ]
  for (const [entity, expected] of cases) {
    const rule = ruleFor('web', { ingress: [{ peers: { entities: [entity] } }] })
    it.policies.changeRules({ set: [rule, apart] })
    const found = {
      host: it.connectsFrom(NODE_ADDRESS, web, 80),
      pod: it.connects(other, web, 80),
      outside: it.connectsFrom(OUTSIDE, web, 80),
      prefix: it.connectsFrom('203.0.113.9', web, 80),
    }
    t.same(found, expected, entity)
  }
  it.node.close()
})

t.test('an empty selector is every pod, and neither the node nor the world', async (t) => {
  const it = new PolicyNode()
  const [web, other] = [it.pod({ 'k8s:app': 'web' }), it.pod({ 'k8s:app': 'other' })]
  const rule = (endpoints: object[]) =>
    it.policies.changeRules({ set: [ruleFor('web', { ingress: [{ peers: { endpoints } }] })] })
  rule([{}])
  t.ok(it.connects(other, web, 80))
  t.notOk(it.connectsFrom(NODE_ADDRESS, web, 80))
  t.notOk(it.connectsFrom(OUTSIDE, web, 80))
  rule([{ matchLabels: { 'reserved:host': '' } }])
  t.ok(it.connectsFrom(NODE_ADDRESS, web, 80), 'a reserved identity by its label')
  t.notOk(it.connects(other, web, 80))
  it.node.close()
})

t.test('a rule for an ICMP type lets that type pass and no other', async (t) => {
  const it = new PolicyNode()
  const [client, web] = [it.pod({ 'k8s:app': 'client' }), it.pod({ 'k8s:app': 'web' })]
  it.policies.changeRules({ set: [ruleFor('web', { ingress: [{ icmps: [{ type: 8 }] }] })] })
  const ip = eth({ from: client.mac, to: NODE_MAC }).ipv4({ from: client.address, to: web.address })
  it.node.send(client.port, ip.icmpEcho({ id: 1, seq: 1 }).bytes())
  t.equal(web.port.take().length, 1)
  t.notOk(it.connects(client, web, 8), 'a TCP port of the same number is another thing')
  it.policies.changeRules({ set: [ruleFor('web', { ingress: [{ icmps: [{ type: 13 }] }] })] })
  it.node.send(client.port, ip.icmpEcho({ id: 2, seq: 1 }).bytes())
  t.equal(web.port.take().length, 0)
  it.node.close()
})

t.test('a deny section wins over every allow, and closes nothing else by itself', async (t) => {
  const it = new PolicyNode()
  const [good, bad] = [it.pod({ 'k8s:app': 'good' }), it.pod({ 'k8s:app': 'bad' })]
  const web = it.pod({ 'k8s:app': 'web' })
  const ingressDeny = [{ peers: apps('bad'), ...tcp(80, 90) }]
  const enableDefaultDeny = { ingress: false }
  it.policies.changeRules({ set: [ruleFor('web', { ingressDeny, enableDefaultDeny })] })
  t.notOk(it.connects(bad, web, 85))
  t.same(it.node.drops(), [181])
  t.ok(it.connects(bad, web, 91))
  t.ok(it.connects(good, web, 85))
  const all = ruleFor('web', { name: 'all', ingress: [{}] })
  it.policies.changeRules({ set: [all] })
  t.notOk(it.connects(bad, web, 90))
  it.policies.changeRules({ set: [ruleFor('web', { ingressDeny })], delete: ['all'] })
  t.notOk(it.connects(good, web, 85), 'with default deny it closes the direction')
  it.node.close()
})

t.test('a named port is the one that the endpoint itself calls so', async (t) => {
  const it = new PolicyNode()
  const client = it.pod({ 'k8s:app': 'client' })
  const one = it.pod({ 'k8s:app': 'web', v: '1' }, { http: { protocol: 6, port: 8080 } })
  const two = it.pod({ 'k8s:app': 'web', v: '2' }, { http: { protocol: 6, port: 9090 } })
  const without = it.pod({ 'k8s:app': 'web', v: '3' })
  it.policies.changeRules({ set: [ruleFor('web', { ingress: [tcp('http')] })] })
  t.ok(it.connects(client, one, 8080))
  t.notOk(it.connects(client, one, 9090))
  t.ok(it.connects(client, two, 9090))
  t.notOk(it.connects(client, without, 8080), 'a name that it does not have is no port')
  it.node.close()
})

t.test('its own node may reach a closed pod where that is asked for', async (t) => {
  for (const allowLocalhost of [true, false]) {
    const it = new PolicyNode({ allowLocalhost })
    const web = it.pod({ 'k8s:app': 'web' })
    it.policies.changeRules({ set: [ruleFor('web', { ingress: [] })] })
    t.equal(it.connectsFrom(NODE_ADDRESS, web, 80), allowLocalhost)
    t.notOk(it.connectsFrom(OUTSIDE, web, 80))
    it.node.close()
  }
})

t.test('the address of a pod is the pod’s, whatever prefix is around it', async (t) => {
  const it = new PolicyNode()
  const web = it.pod({ 'k8s:app': 'web' })
  const other = it.pod({ 'k8s:app': 'other' })
  const cidrs = [{ cidr: '10.0.1.0/24' }, { cidr: other.address }]
  it.policies.changeRules({ set: [ruleFor('web', { ingress: [{ peers: { cidrs } }] })] })
  t.notOk(it.connects(other, web, 80), 'its labels are not allowed')
  t.ok(it.connectsFrom('10.0.1.200', web, 80), 'nobody’s address within the prefix')
  it.policies.removeEndpoint(other.id)
  t.ok(it.connectsFrom(other.address, web, 80), 'an address that is nobody’s any more')
  it.node.close()
})

t.test('only endpoints that a change concerns get another revision', async (t) => {
  const it = new PolicyNode()
  const pods = ['web', 'db', 'idle'].map((app) => it.pod({ 'k8s:app': app }))
  it.policies.changeRules({
    set: [
      ruleFor('web', { ingress: [{ peers: apps('client') }] }),
      ruleFor('db', { ingress: [{ peers: apps('web') }] }),
    ],
  })
  const before = pods.map((pod) => it.revision(pod))
  const changed = () => pods.map((pod, i) => it.revision(pod) !== before[i])
  const client = it.pod({ 'k8s:app': 'client' })
  t.same(changed(), [true, false, false], 'an identity came that one rule selects')
  before[0] = it.revision(pods[0] as never)
  it.policies.changeRules({ set: [ruleFor('web', { ingress: [{ peers: apps('client') }] })] })
  t.same(changed(), [false, false, false], 'a rule that says the same is no change')
  it.policies.removeEndpoint(client.id)
  t.same(changed(), [true, false, false], 'the identity went')
  it.node.close()
})

t.test('endpoints with the same labels share one policy, until the last one goes', async (t) => {
  const it = new PolicyNode()
  const client = it.pod({ 'k8s:app': 'client' })
  const { policyEntries } = it.node.maps
  const before = policyEntries.size
  const labels = { 'k8s:app': 'web' }
  const [one, two] = [it.pod(labels), it.pod(labels)]
  it.policies.changeRules({ set: [ruleFor('web', { ingress: [tcp(80), tcp(81)] })] })
  t.equal(it.revision(one), it.revision(two))
  t.equal(policyEntries.size - before, 3, 'two ports, and the open direction')
  it.policies.removeEndpoint(one.id)
  t.ok(it.connects(client, two, 80))
  it.policies.removeEndpoint(two.id)
  t.equal(policyEntries.size, before)
  it.node.close()
})

t.test(
  'what does not fit is refused whole: rules, policies and identities as before',
  async (t) => {
    const it = new PolicyNode()
    const web = it.pod({ 'k8s:app': 'web' })
    const client = it.pod({ 'k8s:app': 'client' })
    it.policies.changeRules({ set: [ruleFor('web', { ingress: [{ peers: apps('client') }] })] })
    const { policyEntries, ipcachePrefixes } = it.node.maps
    const state = () => [policyEntries.size, ipcachePrefixes.size, it.revision(web)]
    const before = state()
    const prefixes = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ cidr: `172.${16 + (i >> 8)}.${i & 255}.0/24` }))
    // The test node has room for 1024 prefixes and 4096 policy entries.
    const tooMany = ruleFor('web', { ingress: [{ peers: { cidrs: prefixes(1100) } }] })
    t.throws(() => it.policies.changeRules({ set: [tooMany] }), { message: /map ipcache: full/ })
    t.same(state(), before)
    const ports = Array.from({ length: 50 }, (_, i) => tcp(1000 + 2 * i).ports?.[0] as never)
    const tooMuch = ruleFor('web', { ingress: [{ peers: { cidrs: prefixes(100) }, ports }] })
    t.throws(() => it.policies.changeRules({ set: [tooMuch] }), { message: /map policy: full/ })
    t.same(state(), before)
    t.ok(it.connects(client, web, 80), 'the rule of before is in force')
    t.notOk(it.connectsFrom('172.16.0.1', web, 80))
    const wrong = ruleFor('web', { name: 'wrong', ingress: [{ ...tcp(0) }] })
    const right = ruleFor('web', { ingress: [] })
    t.throws(() => it.policies.changeRules({ set: [right, wrong] }), { code: 'ECONFIG_INVALID' })
    t.same(state(), before, 'one that is wrong keeps all out')
    it.policies.changeRules({ set: [right] })
    t.notOk(it.connects(client, web, 80), 'and the next change finds everything in order')
    it.node.close()
  },
)

t.test(
  'over the maps of an earlier run numbers stay, and its prefixes until released',
  async (t) => {
    const it = new PolicyNode()
    const web = it.pod({ 'k8s:app': 'web' })
    const client = it.pod({ 'k8s:app': 'client' })
    const cidrs = [{ cidr: '203.0.113.0/24' }]
    const rules = [ruleFor('web', { ingress: [{ peers: { ...apps('client'), cidrs } }] })]
    const old = ruleFor('web', {
      name: 'old',
      ingress: [{ peers: { cidrs: [{ cidr: '192.0.2.7' }] } }],
    })
    it.policies.changeRules({ set: [...rules, old] })
    const numbers = () => [client.address, web.address, '203.0.113.1'].map((a) => it.identityOf(a))
    const before = numbers()

    it.restart(it.policies.identities.snapshot())
    t.ok(it.connects(client, web, 80), 'policies stay in force meanwhile')
    it.policies.replaceRules(rules)
    it.policies.setEndpointLabels(client.id, { 'k8s:app': 'client' })
    it.policies.setEndpointLabels(web.id, { 'k8s:app': 'web' })
    t.same(numbers(), before)
    t.ok(isLocalIdentity(it.identityOf('192.0.2.7')))
    it.policies.releaseRestored()
    t.equal(it.identityOf('192.0.2.7'), Identity.WORLD)
    t.same(numbers(), before)
    t.ok(it.connects(client, web, 80))
    t.ok(it.connectsFrom('203.0.113.1', web, 80))
    t.notOk(it.connectsFrom('192.0.2.7', web, 80))
    it.node.close()
  },
)

t.test('an event’s cookie leads to the name of the rule', async (t) => {
  const it = new PolicyNode()
  const web = it.pod({ 'k8s:app': 'web' })
  it.policies.changeRules({ set: [ruleFor('web', { ingressDeny: [{}] })] })
  it.connectsFrom(OUTSIDE, web, 80)
  const [verdict] = it.node.events(5)
  t.equal(it.policies.rules.ruleNameOf(verdict?.[12] as number), 'rule of web')
  it.node.close()
})
