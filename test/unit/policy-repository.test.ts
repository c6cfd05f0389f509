/**
 * Rules, identities and endpoints that come and go at random, against a model that asks every rule
 * about the labels and addresses themselves; and ten thousand rules at once.
 */
import t from 'tap'
import type { Prng } from '../../src/base/prng.js'
import { Direction } from '../../src/packet/verdict.js'
import { ALLOWED, PolicyMap } from '../../src/policy/policy-map.js'
import {
  type LabelSelector,
  LabelSet,
  type Labels,
  selects,
} from '../../src/policy-rules/labels.js'
import type { RuleSpec, SectionSpec } from '../../src/policy-rules/rule-spec.js'
import { parseIpv4 } from '../../src/wire/address.js'
import { apps, PolicyNode, ruleFor, tcp } from '../support/policy-node.js'
import { seededPrng } from '../support/seed.js'
import type { TestPod } from '../support/test-node.js'

const TCP = 6
const STEPS = 60
const QUESTIONS = 40

const pick = <T>(prng: Prng, from: readonly T[]): T => from[prng.below(from.length)] as T
const several = <T>(prng: Prng, most: number, make: () => T): T[] =>
  Array.from({ length: prng.below(most + 1) }, make)

const randomLabels = (prng: Prng): Labels => ({
  'k8s:app': pick(prng, ['web', 'db', 'job']),
  ...(prng.chance(0.5) ? { 'k8s:zone': pick(prng, ['a', 'b']) } : {}),
})

function randomSelector(prng: Prng): LabelSelector {
  const operator = pick(prng, ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const)
  const values = operator === 'In' || operator === 'NotIn' ? { values: ['a'] } : {}
  return {
    ...(prng.chance(0.6) ? { matchLabels: { app: pick(prng, ['web', 'db', 'job']) } } : {}),
    ...(prng.chance(0.4) ? { matchExpressions: [{ key: 'k8s:zone', operator, ...values }] } : {}),
  }
}

function randomCidr(prng: Prng): { cidr: string; except?: string[] } {
  const bits = pick(prng, [0, 8, 16, 22, 24])
  const base = `203.0.${112 + prng.below(4)}.0`
  if (bits < 16 || prng.chance(0.5)) return { cidr: `${base}/${bits}` }
  return { cidr: `203.0.112.0/22`, except: several(prng, 2, () => `${base}/${24 + prng.below(3)}`) }
}

const randomSection = (prng: Prng): SectionSpec => ({
  ...(prng.chance(0.85)
    ? {
        peers: {
          endpoints: several(prng, 1, () => randomSelector(prng)),
          cidrs: several(prng, 2, () => randomCidr(prng)),
          entities: several(prng, 1, () => pick(prng, ['world', 'cluster', 'host'] as const)),
        },
      }
    : {}),
  ...(prng.chance(0.6) ? tcp(80 + prng.below(4), 84) : {}),
})

function randomRule(prng: Prng): RuleSpec {
  const sections = () => several(prng, 2, () => randomSection(prng))
  return {
    name: `rule ${prng.below(8)}`,
    endpointSelector: randomSelector(prng),
    ...(prng.chance(0.6) ? { ingress: sections() } : {}),
    ...(prng.chance(0.3) ? { ingressDeny: sections() } : {}),
    ...(prng.chance(0.6) ? { egress: sections() } : {}),
    ...(prng.chance(0.2) ? { enableDefaultDeny: { ingress: prng.chance(0.5) } } : {}),
    ...(prng.chance(0.3) ? { priority: prng.below(3) } : {}),
  }
}

/** A remote side: labels of a pod, or an address. */
type Peer = { readonly labels: Labels } | { readonly address: string }

const isWithin = (address: string, cidr: string): boolean => {
  const [base = '', bits = '32'] = cidr.split('/')
  const shift = 32 - Number(bits)
  if (shift === 32) return true
  return parseIpv4(address) >>> shift === parseIpv4(base) >>> shift
}

function isPeer({ peers }: SectionSpec, peer: Peer): boolean {
  if (peers === undefined) return true
  if ('labels' in peer) {
    const labels = new LabelSet(peer.labels)
    return (
      (peers.endpoints ?? []).some((selector) => selects(selector, labels)) ||
      (peers.entities ?? []).includes('cluster')
    )
  }
  return (
    (peers.entities ?? []).includes('world') ||
    (peers.cidrs ?? []).some(
      ({ cidr, except = [] }) =>
        isWithin(peer.address, cidr) && !except.some((part) => isWithin(peer.address, part)),
    )
  )
}

function isPort({ ports }: SectionSpec, port: number): boolean {
  return ports?.some((p) => port >= (p.port as number) && port <= (p.endPort as number)) ?? true
}

/** The verdict, from the rules alone. */
function model(
  rules: Iterable<RuleSpec>,
  labels: Labels,
  direction: Direction,
  peer: Peer,
  port: number,
): number {
  const own = new LabelSet(labels)
  const found: { priority: number; isDeny: boolean }[] = []
  let isEnforced = false
  for (const rule of rules) {
    if (!selects(rule.endpointSelector ?? {}, own)) continue
    const isIngress = direction === Direction.INGRESS
    const allows = isIngress ? rule.ingress : rule.egress
    const denies = isIngress ? rule.ingressDeny : rule.egressDeny
    const asked = isIngress ? rule.enableDefaultDeny?.ingress : rule.enableDefaultDeny?.egress
    isEnforced ||= asked ?? (allows ?? denies) !== undefined
    const fits = (section: SectionSpec) => isPeer(section, peer) && isPort(section, port)
    const { priority = 0 } = rule
    if (allows?.some(fits)) found.push({ priority, isDeny: false })
    if (denies?.some(fits)) found.push({ priority, isDeny: true })
  }
  if (found.length === 0) return isEnforced ? -133 : ALLOWED
  const first = Math.min(...found.map(({ priority }) => priority))
  return found.some((f) => f.priority === first && f.isDeny) ? -181 : ALLOWED
}

t.test('after any history of changes every endpoint decides as the rules say', async (t) => {
  const prng = seededPrng(t)
  const it = new PolicyNode()
  const rules = new Map<string, RuleSpec>()
  const pods = new Map<TestPod, Labels>()
  const map = new PolicyMap(it.node.maps.policyEntries, it.node.maps.policyPrefixes)
  let wrong = 0
  const addPod = () => {
    const labels = randomLabels(prng)
    pods.set(it.pod(labels), labels)
  }
  for (let i = 0; i < 4; i++) addPod()
  const change = () => {
    if (prng.chance(0.7)) {
      const set = [
        ...new Map(several(prng, 3, () => randomRule(prng)).map((r) => [r.name, r])).values(),
      ]
      const gone = several(prng, 2, () => `rule ${prng.below(8)}`)
      it.policies.changeRules({ set, delete: gone })
      for (const name of gone) rules.delete(name)
      for (const rule of set) rules.set(rule.name, rule)
    } else if (prng.chance(0.3) && pods.size < 12) addPod()
    else {
      const pod = pick(prng, [...pods.keys()])
      const labels = randomLabels(prng)
      it.policies.setEndpointLabels(pod.id, labels)
      pods.set(pod, labels)
    }
  }
  const ask = () => {
    const [pod, labels] = pick(prng, [...pods])
    const direction = pick(prng, [Direction.INGRESS, Direction.EGRESS])
    const [other, otherLabels] = pick(prng, [...pods])
    const outside = `203.0.${110 + prng.below(8)}.${prng.below(256)}`
    const isPod = prng.chance(0.5)
    const peer: Peer = isPod ? { labels: otherLabels } : { address: outside }
    const identity = it.identityOf(isPod ? other.address : outside)
    const port = 78 + prng.below(9)
    const found = map.lookup(it.revision(pod), direction, identity, TCP, port, true)
    const expected = model(rules.values(), labels, direction, peer, port)
    if (found !== expected && wrong++ < 2) {
      t.equal(
        found,
        expected,
        JSON.stringify({ labels, direction, peer, port, rules: [...rules.values()] }),
      )
    }
  }
  for (let step = 0; step < STEPS; step++) {
    change()
    for (let i = 0; i < QUESTIONS; i++) ask()
  }
  t.equal(wrong, 0)
  it.policies.changeRules({ delete: [...rules.keys()] })
  t.same([...it.node.maps.ipcache.cidrs()], [], 'no prefix has an identity without a rule')
  it.node.close()
})

/**
 * Of 5000 prefixes, of the 600 rules for clients that there are; what is open: a direction of the
 * server, two of each client and of the host.
 */
const ENTRIES = 5000 + 600 + 1 + 2 * 4

/** Half of them for prefixes, half for labels, each with a port of its own. */
const manyRules = (count: number, firstPort: number): RuleSpec[] =>
  Array.from({ length: count }, (_, i) => {
    const block = `203.${i >> 9}.${(i >> 1) & 255}.0/24`
    const peers = i % 2 === 0 ? { cidrs: [{ cidr: block }] } : apps(`client${i % 50}`)
    const name = `rule ${i}`
    return ruleFor('web', { name, ingress: [{ peers, ...tcp(firstPort + i, firstPort + i) }] })
  })

t.test(
  'ten thousand rules take effect between two packets, and so do their successors',
  async (t) => {
    const it = new PolicyNode({ prefixes: 32_768, policies: 65_536 })
    const web = it.pod({ 'k8s:app': 'web' })
    const clients = [1, 21, 41].map((n) => it.pod({ 'k8s:app': `client${n}` }))
    for (const firstPort of [1000, 20_000]) {
      const before = it.revision(web)
      const start = performance.now()
      it.policies.replaceRules(manyRules(10_000, firstPort))
      t.comment(`${(performance.now() - start).toFixed(0)} ms`)
      t.not(it.revision(web), before)
      t.equal(it.node.maps.policyEntries.size, ENTRIES)
      for (const i of [0, 4998, 9998]) {
        const address = `203.${i >> 9}.${(i >> 1) & 255}.7`
        t.ok(it.connectsFrom(address, web, firstPort + i))
        t.notOk(it.connectsFrom(address, web, firstPort + i + 2))
      }
      for (const [n, client] of clients.entries()) {
        const own = 1 + 20 * n
        t.ok(it.connects(client, web, firstPort + 50 * 7 + own))
        t.notOk(it.connects(client, web, firstPort + 50 * 7 + own + 2))
      }
    }
    it.node.close()
  },
)
