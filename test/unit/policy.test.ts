/**
 * The policy map against a plain model of the rules: precedence, deny, ranges, wildcards,
 * atomic swap, full map.
 */
import t from 'tap'
import type { Prng } from '../../src/base/prng.js'
import { ArrayMap } from '../../src/maps/array-map.js'
import { HashMap } from '../../src/maps/hash-map.js'
import { DropReason } from '../../src/packet/drop-reason.js'
import { Direction } from '../../src/packet/verdict.js'
import {
  ALLOWED,
  POLICY_PREFIXES_SPEC,
  PolicyMap,
  PolicyMatch,
  policyMapSpec,
} from '../../src/policy/policy-map.js'
import type { EndpointPolicy, PolicyRule } from '../../src/policy/policy-rule.js'
import { PolicyWriter } from '../../src/policy/policy-writer.js'
import { portPrefixes } from '../../src/policy/port-range.js'
import { seededPrng } from '../support/seed.js'

const TCP = 6
const UDP = 17

function maps(maxEntries = 4096) {
  const spec = policyMapSpec(maxEntries)
  const entries = HashMap.create(spec, new SharedArrayBuffer(HashMap.bytesFor(spec)))
  const prefixBytes = ArrayMap.bytesFor(POLICY_PREFIXES_SPEC)
  const prefixes = ArrayMap.create(POLICY_PREFIXES_SPEC, new SharedArrayBuffer(prefixBytes))
  return { entries, prefixes }
}

const enforced = (...rules: Partial<PolicyRule>[]): EndpointPolicy => ({
  enforceIngress: true,
  enforceEgress: true,
  rules: rules.map((rule) => ({ direction: Direction.INGRESS, action: 'allow', ...rule })),
})

function decide(policy: EndpointPolicy, identity: number, protocol: number, port: number) {
  const { entries, prefixes } = maps()
  const revision = new PolicyWriter(entries, prefixes).add(policy)
  const map = new PolicyMap(entries, prefixes)
  const verdict = map.lookup(revision, Direction.INGRESS, identity, protocol, port, true)
  return { verdict, match: map.match, cookie: map.cookie }
}

t.test(
  'without a rule everything is denied; a direction not enforced allows everything',
  async (t) => {
    t.equal(decide(enforced(), 300, TCP, 80).verdict, DropReason.POLICY_DENIED)
    const open = { enforceIngress: false, enforceEgress: true, rules: [] }
    t.equal(decide(open, 300, TCP, 80).verdict, ALLOWED)
  },
)

t.test('each kind of rule matches as its kind', async (t) => {
  const ports = [{ protocol: TCP, firstPort: 80 }]
  const cases: [Partial<PolicyRule>, PolicyMatch][] = [
    [{ identities: [300] }, PolicyMatch.L3_ONLY],
    [{ identities: [300], ports }, PolicyMatch.L3_L4],
    [{ ports }, PolicyMatch.L4_ONLY],
    [{}, PolicyMatch.ALL],
    [{ identities: [300], ports: [{ protocol: TCP }] }, PolicyMatch.L3_PROTOCOL],
    [{ ports: [{ protocol: TCP }] }, PolicyMatch.PROTOCOL_ONLY],
  ]
  for (const [rule, match] of cases) {
    const found = decide(enforced({ ...rule, cookie: 9 }), 300, TCP, 80)
    t.same(found, { verdict: ALLOWED, match, cookie: 9 })
  }
})

t.test('a deny wins over an allow, whichever is more exact', async (t) => {
  const http = [{ protocol: TCP, firstPort: 80 }]
  const exactAllow = { identities: [300], ports: http }
  t.equal(decide(enforced(exactAllow, { action: 'deny' }), 300, TCP, 80).verdict, -181)
  const exactDeny = { action: 'deny' as const, identities: [300], ports: http }
  t.equal(decide(enforced({}, exactDeny), 300, TCP, 80).verdict, -181)
  t.equal(decide(enforced({}, exactDeny), 301, TCP, 80).verdict, ALLOWED)
})

t.test('a higher priority allow wins over a lower priority deny', async (t) => {
  const deny = { action: 'deny' as const, priority: 10 }
  t.equal(decide(enforced({ identities: [300], priority: 5 }, deny), 300, TCP, 80).verdict, ALLOWED)
})

t.test('a deny of any priority closes a direction that is otherwise open', async (t) => {
  const denies = enforced({ action: 'deny', identities: [300], priority: 10 })
  const open = { ...denies, enforceIngress: false }
  t.equal(decide(open, 300, TCP, 80).verdict, DropReason.POLICY_DENY)
  t.equal(decide(open, 301, TCP, 80).verdict, ALLOWED)
})

t.test('a port range is covered exactly by its prefixes', async (t) => {
  for (const [first, last] of [
    [0, 65535],
    [1, 65534],
    [80, 80],
    [1000, 1999],
    [32768, 65535],
  ]) {
    const prefixes = portPrefixes(first as number, last as number)
    const ports = prefixes.reduce((sum, p) => sum + 2 ** (24 - p.prefixLength), 0)
    t.equal(ports, (last as number) - (first as number) + 1)
    t.ok(prefixes.length <= 30)
    t.ok(
      prefixes.every((p) => p.port % 2 ** (24 - p.prefixLength) === 0),
      'aligned',
    )
  }
})

t.test('a packet without ports passes only by a rule that needs none', async (t) => {
  const { entries, prefixes } = maps()
  const writer = new PolicyWriter(entries, prefixes)
  const map = new PolicyMap(entries, prefixes)
  const byPort = writer.add(enforced({ ports: [{ protocol: UDP, firstPort: 53 }] }))
  const byIdentity = writer.add(enforced({ identities: [300] }))
  const ask = (policy: number) => map.lookup(policy, Direction.INGRESS, 300, UDP, 0, false)
  t.equal(ask(byPort), DropReason.FRAGMENT_UNSUPPORTED)
  t.equal(ask(byIdentity), ALLOWED)
})

t.test('random policies decide as the model does', async (t) => {
  const prng = seededPrng(t)
  for (let round = 0; round < 200; round++) {
    const rules = Array.from({ length: 1 + prng.below(8) }, () => randomRule(prng))
    const { entries, prefixes } = maps()
    const revision = new PolicyWriter(entries, prefixes).add(enforced(...rules))
    const map = new PolicyMap(entries, prefixes)
    for (let i = 0; i < 50; i++) {
      const identity = 300 + prng.below(3)
      const protocol = prng.chance(0.5) ? TCP : UDP
      const port = prng.below(40)
      const found = map.lookup(revision, Direction.INGRESS, identity, protocol, port, true)
      const expected = model(rules, identity, protocol, port)
      if (found !== expected)
        t.equal(found, expected, JSON.stringify({ rules, identity, protocol, port }))
    }
  }
  t.pass('no difference')
})

function randomRule(prng: Prng): Partial<PolicyRule> {
  const first = prng.below(40)
  const port = { firstPort: first, lastPort: first + prng.below(10) }
  const protocol = prng.chance(0.5) ? TCP : UDP
  const ports = [prng.chance(0.3) ? { protocol } : { protocol, ...port }]
  return {
    action: prng.chance(0.3) ? 'deny' : 'allow',
    ...(prng.chance(0.6) ? { identities: [300 + prng.below(3)] } : {}),
    ...(prng.chance(0.7) ? { ports } : {}),
  }
}

/** All rules have one priority: any matching deny decides, else any matching allow. */
function model(
  rules: Partial<PolicyRule>[],
  identity: number,
  protocol: number,
  port: number,
): number {
  const matching = rules.filter((rule) => {
    if (rule.identities !== undefined && !rule.identities.includes(identity)) return false
    return (
      rule.ports?.some((p) => {
        if (p.protocol !== protocol) return false
        return (
          p.firstPort === undefined || (port >= p.firstPort && port <= (p.lastPort ?? p.firstPort))
        )
      }) ?? true
    )
  })
  if (matching.some((rule) => rule.action === 'deny')) return DropReason.POLICY_DENY
  return matching.length > 0 ? ALLOWED : DropReason.POLICY_DENIED
}

t.test('a full map refuses the policy by name and keeps what was there', async (t) => {
  const { entries, prefixes } = maps(8)
  const writer = new PolicyWriter(entries, prefixes)
  const first = writer.add(enforced({ identities: [1, 2, 3, 4] }))
  t.throws(() => writer.add(enforced({ identities: [1, 2, 3, 4, 5] })), {
    code: 'EMAP_FULL',
    message: /map policy/,
  })
  t.equal(entries.size, 4, 'nothing is left of the refused one')
  const map = new PolicyMap(entries, prefixes)
  t.equal(map.lookup(first, Direction.INGRESS, 4, TCP, 1, true), ALLOWED)
  writer.delete(first)
  t.equal(entries.size, 0)
})

t.test('a writer that takes over deletes revisions that nobody names', async (t) => {
  const { entries, prefixes } = maps()
  const before = new PolicyWriter(entries, prefixes)
  const kept = before.add(enforced({ identities: [300] }))
  before.add(enforced({ identities: [301, 302] }))
  new PolicyWriter(entries, prefixes, new Set([kept]))
  t.equal(entries.size, 1)
})

t.test('a remembered answer is the one that the map gives, whatever changed', async (t) => {
  const prng = seededPrng(t)
  const { entries, prefixes } = maps()
  const writer = new PolicyWriter(entries, prefixes)
  const remembering = new PolicyMap(entries, prefixes)
  const names: number[] = []
  for (let step = 0; step < 4000; step++) {
    if (names.length === 0 || prng.below(20) === 0) {
      if (names.length > 3) writer.delete(names.splice(prng.below(names.length), 1)[0] ?? 0)
      const ports = [{ protocol: TCP, firstPort: 80 + prng.below(3), lastPort: 84 }]
      const action = prng.below(2) === 0 ? 'allow' : 'deny'
      const rule = { identities: [300 + prng.below(2)], ports, action, cookie: step } as const
      names.push(writer.add(enforced(rule, { ports: [{ protocol: UDP }], cookie: 1 })))
    }
    const name = names[prng.below(names.length)] ?? 0
    const identity = 300 + prng.below(3)
    const protocol = prng.below(2) === 0 ? TCP : UDP
    const port = 79 + prng.below(6)
    const hasPort = prng.below(4) !== 0
    const ask = (map: PolicyMap) => [
      map.lookup(name, Direction.INGRESS, identity, protocol, port, hasPort),
      map.match,
      map.cookie,
      map.proxyPort,
    ]
    const expected = ask(new PolicyMap(entries, prefixes))
    const found = ask(remembering)
    if (found.join() !== expected.join()) t.same(found, expected, `step ${step}`)
  }
})
