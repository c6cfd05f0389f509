/**
 * All rules of a node, and from them the policy of each endpoint (Cilium: pkg/policy/repository.go,
 * distillery.go): rules select endpoints by labels and peers by selectors, selectors stand for
 * identities. When a rule or an identity comes or goes, only the endpoints that it concerns get
 * another policy. Endpoints with the same labels share one.
 *
 * It writes no map: `PolicyController` in src/daemon does.
 */
import { Identity } from '../identity/identity.js'
import { Direction } from '../packet/verdict.js'
import type { EndpointPolicy, PolicyRule, PortRange } from '../policy/policy-rule.js'
import type { IdentityObserver, IdentityRegistry } from './identity-registry.js'
import { LabelSet, type Labels } from './labels.js'
import type { IdentityRecord, Rule, Section } from './rule.js'
import { checkRule, invalid } from './rule-check.js'
import type { RuleSpec } from './rule-spec.js'
import { type CachedSelector, SelectorCache } from './selector-cache.js'
import { SelectorIndex } from './selector-index.js'

/** An endpoint whose policy is wanted. */
export interface Subject {
  readonly id: number
  readonly labels: Labels
  /** Rules with a nodeSelector are for hosts, the others for pods. */
  readonly isHost?: boolean
  /** The endpoint's own ports by name, for rules that name one. */
  readonly namedPorts?: Readonly<Record<string, { protocol: number; port: number }>>
}

export interface RuleChange {
  /** New rules, and new forms of those that have the same name. */
  readonly set?: readonly RuleSpec[]
  /** Names of rules to delete; those that are not there are passed over. */
  readonly delete?: readonly string[]
}

export interface RepositoryOptions {
  /** Pods always take packets from their own node, as the kubelet's probes need. */
  readonly allowLocalhost?: boolean
}

/** A change that policies are computed with already, and that is to be confirmed or taken back. */
export interface PendingChange {
  commit(): void
  undo(): void
}

export interface ChangedPolicies {
  readonly policies: ReadonlyMap<number, EndpointPolicy>
  /** What the same endpoints had. */
  readonly before: ReadonlyMap<number, EndpointPolicy>
}

interface InstalledRule {
  /** Of its spec, to see whether another one says the same. */
  readonly text: string
  readonly rule: Rule
  readonly cookie: number
  /** By the section's number in the rule. */
  readonly peers: readonly (readonly CachedSelector<InstalledRule>[] | undefined)[]
  /** Local identities that it holds. */
  readonly identities: readonly number[]
}

interface SubjectState {
  readonly subject: Subject
  readonly labels: LabelSet
  /** The same for subjects that have the same policy. */
  readonly kind: string
  policy: EndpointPolicy
}

/** Cookies are numbered from 1 and wrap here. */
const COOKIE_MAX = 0x3fff_ffff

export class PolicyRepository implements IdentityObserver {
  readonly #registry: IdentityRegistry
  readonly #allowLocalhost: boolean
  readonly #rules = new Map<string, InstalledRule>()
  readonly #ofPods = new SelectorIndex<InstalledRule>()
  readonly #ofHost = new SelectorIndex<InstalledRule>()
  readonly #byCookie = new Map<number, InstalledRule>()
  readonly #selectors: SelectorCache<InstalledRule>
  readonly #subjects = new Map<number, SubjectState>()
  /** Rules of which something changed since policies were taken last. */
  readonly #changed = new Set<InstalledRule>()
  /** Endpoints that have another policy than they should. */
  readonly #stale = new Set<number>()
  #lastCookie = 0
  /** What goes changes no policy. */
  #isQuiet = false

  constructor(registry: IdentityRegistry, options: RepositoryOptions = {}) {
    this.#registry = registry
    this.#allowLocalhost = options.allowLocalhost ?? false
    this.#selectors = new SelectorCache((selector) => {
      if (this.#isQuiet) return
      for (const user of selector.users) this.#changed.add(user)
    })
    registry.observe(this)
  }

  get ruleNames(): string[] {
    return [...this.#rules.keys()]
  }

  /** Of the rule that an event's cookie names. */
  ruleNameOf(cookie: number): string | undefined {
    return this.#byCookie.get(cookie)?.rule.name
  }

  identityAdded(identity: IdentityRecord): void {
    this.#selectors.identityAdded(identity)
  }

  /**
   * The number of a prefix that goes is not given out again for long, and no address has it any
   * more: what policies have of it is only room, and goes with their next change.
   */
  identityRemoved(identity: IdentityRecord): void {
    this.#isQuiet = identity.cidr !== undefined
    this.#selectors.identityRemoved(identity)
    this.#isQuiet = false
  }

  /**
   * Puts new rules in force and takes old ones out, all or, with ECONFIG_INVALID, none. Identities
   * of the old ones stay until `commit`, for there may be packets that have them.
   */
  change({ set = [], delete: gone = [] }: RuleChange): PendingChange {
    const specs = new Map(set.map((spec) => [spec.name, spec]))
    if (specs.size < set.length) throw invalid('rules', '', 'each name once')
    const wanted = set.map((spec) => ({ spec, text: JSON.stringify(spec) }))
    const news = wanted.filter(({ spec, text }) => this.#rules.get(spec.name)?.text !== text)
    const rules = news.map(({ spec, text }) => ({ rule: checkRule(spec), text }))
    const names = new Set([
      ...news.map(({ spec }) => spec.name),
      ...gone.filter((n) => !specs.has(n)),
    ])
    const old = [...names].flatMap((name) => this.#rules.get(name) ?? [])
    const added = rules.map(({ rule, text }) => this.#make(rule, text))
    this.#replace(old, added)
    return {
      commit: () => this.#dispose(old),
      undo: () => {
        this.#replace(added, old)
        this.#dispose(added)
      },
    }
  }

  /** Adds an endpoint, or says what is new of it; its policy is `policyOf` then. */
  setSubject(subject: Subject): void {
    const labels = new LabelSet(subject.labels)
    const ports = JSON.stringify(Object.entries(subject.namedPorts ?? {}).sort())
    const kind = `${subject.isHost === true ? 'host' : 'pod'} ${labels.text} ${ports}`
    const alike = [...this.#subjects.values()].find((other) => other.kind === kind)
    const policy = alike?.policy ?? this.#resolve(subject, labels)
    this.#subjects.set(subject.id, { subject, labels, kind, policy })
  }

  deleteSubject(id: number): void {
    this.#subjects.delete(id)
    this.#stale.delete(id)
  }

  subject(id: number): Subject | undefined {
    return this.#subjects.get(id)?.subject
  }

  policyOf(id: number): EndpointPolicy {
    const state = this.#subjects.get(id)
    if (state === undefined) throw invalid('endpoint.id', id, 'an endpoint with labels')
    return state.policy
  }

  /**
   * New policies of the endpoints that something has changed for since this was asked last; the
   * same object for endpoints that are alike.
   */
  takeChanged(): ChangedPolicies {
    const policies = new Map<number, EndpointPolicy>()
    const before = new Map<number, EndpointPolicy>()
    const resolved = new Map<string, EndpointPolicy>()
    for (const [id, state] of this.#concerned()) {
      const policy = resolved.get(state.kind) ?? this.#resolve(state.subject, state.labels)
      resolved.set(state.kind, policy)
      before.set(id, state.policy)
      policies.set(id, policy)
      state.policy = policy
    }
    this.#changed.clear()
    this.#stale.clear()
    return { policies, before }
  }

  /** They could not be put in force: the endpoints still have those of before. */
  restore({ before }: ChangedPolicies): void {
    for (const [id, policy] of before) {
      const state = this.#subjects.get(id)
      if (state !== undefined) state.policy = policy
      this.#stale.add(id)
    }
  }

  /** Endpoints that a changed rule is for. */
  *#concerned(): Generator<[id: number, state: SubjectState]> {
    if (this.#changed.size === 0 && this.#stale.size === 0) return
    const pods = new SelectorIndex<Rule>()
    const host = new SelectorIndex<Rule>()
    for (const { rule } of this.#changed) (rule.isOfHost ? host : pods).add(rule, rule.subjects)
    for (const [id, state] of this.#subjects) {
      const index = state.subject.isHost === true ? host : pods
      const isConcerned = index.matching(state.labels).next().done !== true
      if (isConcerned || this.#stale.has(id)) yield [id, state]
    }
  }

  #make(rule: Rule, text: string): InstalledRule {
    const peers: (CachedSelector<InstalledRule>[] | undefined)[] = []
    const identities: number[] = []
    const installed = { text, rule, cookie: this.#nextCookie(), peers, identities }
    for (const section of rule.sections) {
      peers.push(section.peers?.map((peer) => this.#selectors.acquire(peer, installed)))
    }
    // After the selectors, which then need not look through all identities.
    for (const peer of rule.sections.flatMap((section) => section.peers ?? [])) {
      for (const cidr of peer.cidrs) identities.push(this.#registry.claimCidr(cidr))
    }
    return installed
  }

  #replace(old: readonly InstalledRule[], added: readonly InstalledRule[]): void {
    for (const installed of old) {
      this.#rules.delete(installed.rule.name)
      this.#byCookie.delete(installed.cookie)
      this.#indexOf(installed.rule).delete(installed, installed.rule.subjects)
      this.#changed.add(installed)
    }
    for (const installed of added) {
      this.#rules.set(installed.rule.name, installed)
      this.#byCookie.set(installed.cookie, installed)
      this.#indexOf(installed.rule).add(installed, installed.rule.subjects)
      this.#changed.add(installed)
    }
  }

  #dispose(rules: readonly InstalledRule[]): void {
    for (const installed of rules) {
      for (const selector of installed.peers.flatMap((peers) => peers ?? [])) {
        this.#selectors.release(selector, installed)
      }
      for (const number of installed.identities) this.#registry.release(number)
    }
  }

  #indexOf(rule: Rule): SelectorIndex<InstalledRule> {
    return rule.isOfHost ? this.#ofHost : this.#ofPods
  }

  #resolve(subject: Subject, labels: LabelSet): EndpointPolicy {
    const isHost = subject.isHost === true
    const selected = [...(isHost ? this.#ofHost : this.#ofPods).matching(labels)]
    selected.sort((a, b) => a.cookie - b.cookie)
    const enforceIngress = selected.some(({ rule }) => rule.enforcesIngress)
    const enforceEgress = selected.some(({ rule }) => rule.enforcesEgress)
    const rules = selected.flatMap((installed) => policyRules(installed, subject))
    if (enforceIngress && !isHost && this.#allowLocalhost) rules.push(FROM_LOCALHOST)
    return { enforceIngress, enforceEgress, rules }
  }

  #nextCookie(): number {
    do this.#lastCookie = (this.#lastCookie % COOKIE_MAX) + 1
    while (this.#byCookie.has(this.#lastCookie))
    return this.#lastCookie
  }
}

const FROM_LOCALHOST: PolicyRule = {
  direction: Direction.INGRESS,
  action: 'allow',
  identities: [Identity.HOST],
}

function policyRules({ rule, cookie, peers }: InstalledRule, subject: Subject): PolicyRule[] {
  return rule.sections.map((section, i) => {
    const identities = identitiesOf(peers[i])
    const ports = portsOf(section, subject)
    return {
      direction: section.direction,
      action: section.action,
      ...(identities === undefined ? {} : { identities }),
      ...(ports === undefined ? {} : { ports }),
      priority: rule.priority,
      cookie,
    }
  })
}

function identitiesOf(
  peers: readonly CachedSelector<InstalledRule>[] | undefined,
): readonly number[] | undefined {
  if (peers === undefined || peers.length !== 1) {
    return peers && [...new Set(peers.flatMap((peer) => peer.identities))]
  }
  return peers[0]?.identities
}

/** A name that the endpoint has no port for stands for no port. */
function portsOf(section: Section, subject: Subject): readonly PortRange[] | undefined {
  if (section.namedPorts.length === 0) return section.ports
  const named = section.namedPorts.flatMap(({ name, protocols }) => {
    const own = subject.namedPorts
    const port = own !== undefined && Object.hasOwn(own, name) ? own[name] : undefined
    if (port === undefined || !protocols.includes(port.protocol)) return []
    return [{ protocol: port.protocol, firstPort: port.port, lastPort: port.port }]
  })
  return [...(section.ports ?? []), ...named]
}
