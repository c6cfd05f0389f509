/**
 * The policy lookup against two slow models that share no code with it: one over the rules,
 * which says what the verdict must be, and one over the entries, which says which of them decides.
 */
import t from 'tap'
import type { Prng } from '../../src/base/prng.js'
import { ArrayMap } from '../../src/maps/array-map.js'
import { HashMap } from '../../src/maps/hash-map.js'
import { Direction } from '../../src/packet/verdict.js'
import { compilePolicy, type PolicyEntry } from '../../src/policy/policy-compiler.js'
import { POLICY_PREFIXES_SPEC, PolicyMap, policyMapSpec } from '../../src/policy/policy-map.js'
import type { EndpointPolicy, PolicyRule, PortRange } from '../../src/policy/policy-rule.js'
import { PolicyWriter } from '../../src/policy/policy-writer.js'
import { seededPrng } from '../support/seed.js'

const [ICMP, TCP, UDP] = [1, 6, 17]
const PROTOCOLS = [ICMP, TCP, UDP] as const
/** Inside and outside of what rules name, cluster-wide and local to the node. */
const IDENTITIES = [1, 2, 300, 301, (1 << 24) | 5]
const ROUNDS = 300
const QUESTIONS = 120

interface Question {
  readonly direction: Direction
  readonly identity: number
  readonly protocol: number
  readonly port: number
  readonly hasPort: boolean
}

const pick = <T>(prng: Prng, from: readonly T[]): T => from[prng.below(from.length)] as T

function randomPorts(prng: Prng): PortRange {
  const protocol = pick(prng, PROTOCOLS)
  if (prng.chance(0.25)) return { protocol }
  // Ranges of every shape: single ports, aligned blocks, up to the whole space.
  const width = prng.chance(0.5) ? 0 : prng.below(2 ** prng.below(17))
  const firstPort = prng.chance(0.5) ? prng.below(64) : prng.below(65_536)
  return { protocol, firstPort, lastPort: Math.min(65_535, firstPort + width) }
}

function randomRule(prng: Prng, cookie: number): PolicyRule {
  const several = <T>(make: () => T): T[] => Array.from({ length: prng.below(4) }, make)
  return {
    direction: pick(prng, [Direction.INGRESS, Direction.EGRESS]),
    action: prng.chance(0.35) ? 'deny' : 'allow',
    ...(prng.chance(0.6) ? { identities: several(() => pick(prng, IDENTITIES)) } : {}),
    ...(prng.chance(0.7) ? { ports: several(() => randomPorts(prng)) } : {}),
    ...(prng.chance(0.5) ? { priority: pick(prng, [0, 1, 2, 500, 0xff_ffff]) } : {}),
    cookie,
  }
}

const randomPolicy = (prng: Prng): EndpointPolicy => ({
  enforceIngress: prng.chance(0.8),
  enforceEgress: prng.chance(0.8),
  rules: Array.from({ length: prng.below(12) }, (_, i) => randomRule(prng, i + 1)),
})

/** Mostly at the edges of what the rules name, where mistakes are. */
function randomQuestion(prng: Prng, policy: EndpointPolicy): Question {
  const ranges = policy.rules.flatMap((rule) => rule.ports ?? [])
  const edges = ranges.flatMap(({ firstPort = 0, lastPort = 0 }) => [firstPort, lastPort])
  const port = edges.length > 0 && prng.chance(0.8) ? pick(prng, edges) + prng.below(3) - 1 : 0
  return {
    direction: pick(prng, [Direction.INGRESS, Direction.EGRESS]),
    identity: pick(prng, [...IDENTITIES, 999]),
    protocol: pick(prng, PROTOCOLS),
    port: port & 0xffff,
    hasPort: prng.chance(0.9),
  }
}

/** All matching rules; the highest priority among them, where a deny wins. */
function verdictByRules(policy: EndpointPolicy, asked: Question): number {
  const enforced =
    asked.direction === Direction.INGRESS ? policy.enforceIngress : policy.enforceEgress
  const matching = policy.rules.filter(
    (rule) =>
      rule.direction === asked.direction &&
      (rule.identities === undefined || rule.identities.includes(asked.identity)) &&
      (rule.ports === undefined || rule.ports.some((range) => isIn(range, asked))),
  )
  if (matching.length === 0) {
    if (!enforced) return 0
    return asked.hasPort ? -133 : -157
  }
  const first = Math.min(...matching.map((rule) => rule.priority ?? 0))
  const strongest = matching.filter((rule) => (rule.priority ?? 0) === first)
  return strongest.some((rule) => rule.action === 'deny') ? -181 : 0
}

function isIn(range: PortRange, { protocol, port, hasPort }: Question): boolean {
  if (range.protocol !== protocol) return false
  if (range.firstPort === undefined) return true
  const last = range.lastPort ?? range.firstPort
  // What is the whole space is kept as "any port", which needs none.
  if (!hasPort) return range.firstPort === 0 && last === 65_535
  return port >= range.firstPort && port <= last
}

interface Decision {
  readonly match: number
  readonly cookie: number
}

/**
 * Every entry that fits; of each identity the longest prefix, and of those two the one of higher precedence,
 * or else of the longer prefix.
 */
function decisionByEntries(entries: readonly PolicyEntry[], asked: Question): Decision {
  const fitting = entries.filter((entry) => fits(entry, asked))
  const longest = (identity: number) =>
    fitting
      .filter((entry) => entry.identity === identity)
      .sort((a, b) => b.prefixLength - a.prefixLength)[0]
  const exact = longest(asked.identity)
  const any = longest(0)
  const rank = (entry: PolicyEntry) => (entry.precedence >>> 0) * 32 + entry.prefixLength
  const isExact =
    exact !== undefined &&
    (any === undefined || exact.precedence >>> 0 === 0xffff_ffff || rank(exact) >= rank(any))
  if (isExact) return { match: { 0: 1, 8: 5 }[exact.prefixLength] ?? 2, cookie: exact.cookie }
  if (any === undefined) return { match: 0, cookie: 0 }
  return { match: { 0: 4, 8: 6 }[any.prefixLength] ?? 3, cookie: any.cookie }
}

function fits(entry: PolicyEntry, asked: Question): boolean {
  if (entry.direction !== asked.direction) return false
  if (entry.prefixLength === 0) return true
  if (entry.protocol !== asked.protocol) return false
  if (entry.prefixLength === 8) return true
  const size = 2 ** (24 - entry.prefixLength)
  return asked.hasPort && Math.floor(asked.port / size) === entry.port / size
}

t.test('random policies decide as both models do, and tell which entry did', async (t) => {
  const prng = seededPrng(t)
  const spec = policyMapSpec(65_536)
  const entries = HashMap.create(spec, new SharedArrayBuffer(HashMap.bytesFor(spec)))
  const bytes = ArrayMap.bytesFor(POLICY_PREFIXES_SPEC)
  const prefixes = ArrayMap.create(POLICY_PREFIXES_SPEC, new SharedArrayBuffer(bytes))
  const writer = new PolicyWriter(entries, prefixes)
  const map = new PolicyMap(entries, prefixes)
  let wrong = 0
  for (let round = 0; round < ROUNDS; round++) {
    const policy = randomPolicy(prng)
    const compiled = compilePolicy(policy)
    const name = writer.add(policy)
    for (let i = 0; i < QUESTIONS; i++) {
      const asked = randomQuestion(prng, policy)
      const { direction, identity, protocol, port, hasPort } = asked
      const verdict = map.lookup(name, direction, identity, protocol, port, hasPort)
      const found = { verdict, match: map.match, cookie: map.cookie }
      const decision = decisionByEntries(compiled, asked)
      const expected = { verdict: verdictByRules(policy, asked), ...decision }
      const isRight = Object.entries(expected).every(([k, v]) => found[k as 'match'] === v)
      if (!isRight && wrong++ < 3) t.same(found, expected, JSON.stringify({ asked, policy }))
    }
    if (prng.chance(0.9)) writer.delete(name)
  }
  t.equal(wrong, 0)
})

t.test('an entry that a stronger and wider one of its identity covers is left out', async (t) => {
  const prng = seededPrng(t)
  for (let round = 0; round < ROUNDS; round++) {
    const compiled = compilePolicy(randomPolicy(prng))
    for (const narrow of compiled) {
      const wide = compiled.find(
        (entry) =>
          entry.direction === narrow.direction &&
          entry.identity === narrow.identity &&
          entry.prefixLength < narrow.prefixLength &&
          entry.precedence >>> 0 > narrow.precedence >>> 0 &&
          (entry.prefixLength === 0 ||
            (entry.protocol === narrow.protocol &&
              (narrow.port ^ entry.port) >> (24 - entry.prefixLength) === 0)),
      )
      if (wide !== undefined) t.fail(JSON.stringify({ narrow, wide }))
    }
  }
  t.pass('none')
})
