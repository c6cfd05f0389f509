/**
 * Keeps the policies of a node's endpoints as rules, labels and identities have them (Cilium:
 * pkg/policy, pkg/endpoint, pkg/ipcache). Each change is made whole or refused with nothing changed.
 *
 * The order of writes is what keeps packets from being misjudged: policies know an identity before
 * any address has it, and an address gives it up before policies forget it.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { Ipcache } from '../identity/ipcache.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import {
  type IdentityObserver,
  IdentityRegistry,
  isLocalIdentity,
  type NumberedLabels,
} from '../policy-rules/identity-registry.js'
import type { Labels } from '../policy-rules/labels.js'
import {
  type PendingChange,
  PolicyRepository,
  type RepositoryOptions,
  type RuleChange,
  type Subject,
} from '../policy-rules/policy-repository.js'
import type { IdentityRecord } from '../policy-rules/rule.js'
import type { RuleSpec } from '../policy-rules/rule-spec.js'
import type { Cidr } from '../wire/address.js'
import { type EndpointSpec, HOST_ENDPOINT_ID, type NodeController } from './node-controller.js'

export interface LabelledEndpoint extends Omit<EndpointSpec, 'identity'> {
  readonly labels: Labels
  /** Number that its labels have in the cluster; one of this node's choice unless given. */
  readonly identity?: number
  /** Its own ports by name, for rules that name one. */
  readonly namedPorts?: Subject['namedPorts']
}

export interface PolicyOptions extends RepositoryOptions {
  /** What the registry of an earlier run said in its `snapshot`. */
  readonly identities?: Iterable<NumberedLabels>
}

const NOTHING: PendingChange = { commit: () => {}, undo: () => {} }

export class PolicyController implements IdentityObserver {
  readonly identities: IdentityRegistry
  readonly rules: PolicyRepository
  readonly #node: NodeController
  readonly #ipcache: Ipcache
  readonly #identityOf = new Map<number, number>()
  /** Identities of prefixes that no address has yet. */
  readonly #arrived = new Map<number, Cidr>()
  #restored: number[] = []

  /** Takes over the identities that prefixes have in the maps. */
  constructor(node: NodeController, maps: DatapathMaps, options: PolicyOptions = {}) {
    this.#node = node
    this.#ipcache = maps.ipcache
    this.identities = new IdentityRegistry(options.identities)
    for (const { words, prefixLength, identity } of maps.ipcache.cidrs()) {
      const cidr = { words, prefixBits: prefixLength }
      if (!isLocalIdentity(identity)) this.#ipcache.deleteCidr(words, prefixLength)
      else {
        this.identities.restoreCidr(identity, cidr)
        this.#restored.push(identity)
      }
    }
    this.rules = new PolicyRepository(this.identities, options)
    this.identities.observe(this)
    this.#arrived.clear()
  }

  /**
   * Puts rules in force, and takes others out, at once. ECONFIG_INVALID names what is wrong;
   * EMAP_FULL which map has no room. Nothing is changed then.
   */
  changeRules(change: RuleChange): void {
    this.#apply(this.rules.change(change))
  }

  /** Makes these the rules, and no others. */
  replaceRules(rules: readonly RuleSpec[]): void {
    const names = new Set(rules.map(({ name }) => name))
    const gone = this.rules.ruleNames.filter((name) => !names.has(name))
    this.changeRules({ set: rules, delete: gone })
  }

  /**
   * After a restart, when all rules are there again: gives up the identities of prefixes that only
   * an earlier run's rules had.
   */
  releaseRestored(): void {
    for (const number of this.#restored) this.identities.release(number)
    this.#restored = []
  }

  /** Adds a pod with the policy that its labels give it; returns its port. */
  addEndpoint(spec: LabelledEndpoint): number {
    const { labels, namedPorts, identity: number, ...place } = spec
    if (this.#identityOf.has(spec.id)) {
      throw invalid('endpoint.id', spec.id, 'a number that no endpoint has')
    }
    const identity = this.#claim(labels, number)
    const subject = { id: spec.id, labels, ...(namedPorts && { namedPorts }) }
    return this.#withSubject(subject, identity, () =>
      this.#node.addEndpoint({ ...place, identity }, this.rules.policyOf(spec.id)),
    )
  }

  /** Takes over a pod that an earlier run added, or gives one that is here other labels. */
  setEndpointLabels(
    id: number,
    labels: Labels,
    namedPorts?: Subject['namedPorts'],
    number?: number,
  ): void {
    const identity = this.#claim(labels, number)
    this.#withSubject({ id, labels, ...(namedPorts && { namedPorts }) }, identity, () =>
      this.#node.setEndpointIdentity(id, identity, this.rules.policyOf(id)),
    )
  }

  removeEndpoint(id: number): void {
    this.#node.removeEndpoint(id)
    this.rules.deleteSubject(id)
    const identity = this.#identityOf.get(id)
    this.#identityOf.delete(id)
    if (identity !== undefined) this.#release(identity)
  }

  /** The node's labels: rules with a matching nodeSelector are its host policy. */
  setHostLabels(labels: Labels): void {
    this.#node.portOf(HOST_ENDPOINT_ID)
    this.rules.setSubject({ id: HOST_ENDPOINT_ID, labels, isHost: true })
    this.#node.setPolicy(HOST_ENDPOINT_ID, this.rules.policyOf(HOST_ENDPOINT_ID))
  }

  /** The node has no policy of its own any more. */
  removeHost(): void {
    this.rules.deleteSubject(HOST_ENDPOINT_ID)
  }

  /**
   * An identity that another node, or the cluster's store, gave out; to be told before addresses
   * have it. Counted: as many `forgetIdentity` as this. Labels that differ from those it had take
   * their place, unless a pod of this node has the number.
   */
  learnIdentity(number: number, labels: Labels): void {
    const isOurs = [...this.#identityOf.values()].includes(number)
    if (!isOurs) this.identities.relabel(number, labels)
    this.identities.learn(number, labels)
    this.#apply({ ...NOTHING, undo: () => this.identities.release(number) })
  }

  forgetIdentity(number: number): void {
    this.#release(number)
  }

  identityAdded({ number, cidr }: IdentityRecord): void {
    if (cidr !== undefined) this.#arrived.set(number, cidr)
  }

  identityRemoved({ number, cidr }: IdentityRecord): void {
    if (cidr === undefined) return
    this.#arrived.delete(number)
    this.#ipcache.deleteCidr(cidr.words, cidr.prefixBits)
  }

  /** Writes what `write` does for an endpoint of this identity, or leaves it as it was. */
  #withSubject<T>(subject: Subject, identity: number, write: () => T): T {
    const before = this.rules.subject(subject.id)
    this.rules.setSubject(subject)
    let result: T
    try {
      result = write()
    } catch (error) {
      if (before === undefined) this.rules.deleteSubject(subject.id)
      else this.rules.setSubject(before)
      this.#release(identity)
      throw error
    }
    const old = this.#identityOf.get(subject.id)
    this.#identityOf.set(subject.id, identity)
    if (old !== undefined) this.#release(old)
    return result
  }

  #claim(labels: Labels, number?: number): number {
    if (number !== undefined) this.identities.learn(number, labels)
    const identity = number ?? this.identities.claim(labels)
    this.#apply({ ...NOTHING, undo: () => this.identities.release(identity) })
    return identity
  }

  /**
   * That nobody has an identity any more need not be in the policies at once: what they have no
   * room for now comes with the next change.
   */
  #release(identity: number): void {
    this.identities.release(identity)
    try {
      this.#apply(NOTHING)
    } catch (error) {
      if (!(error instanceof RingpathError) || error.code !== ErrorCode.MAP_FULL) throw error
    }
  }

  #apply(change: PendingChange): void {
    try {
      this.#reservePrefixes()
      this.#swapPolicies()
    } catch (error) {
      change.undo()
      throw error
    }
    for (const [number, { words, prefixBits }] of this.#arrived) {
      this.#ipcache.setCidr(words, prefixBits, number)
    }
    this.#arrived.clear()
    change.commit()
  }

  /** New prefixes get their place, and keep the identity that their addresses have had. */
  #reservePrefixes(): void {
    for (const { words, prefixBits } of this.#arrived.values()) {
      if (this.#ipcache.reserveCidr(words, prefixBits)) continue
      throw new RingpathError(ErrorCode.MAP_FULL, 'map ipcache: full; raise its size')
    }
  }

  #swapPolicies(): void {
    const changed = this.rules.takeChanged()
    try {
      this.#node.setPolicies(changed.policies)
    } catch (error) {
      this.rules.restore(changed)
      throw error
    }
  }
}

function invalid(field: string, value: number, expected: string): RingpathError {
  return new RingpathError(ErrorCode.CONFIG_INVALID, `${field}: '${value}', expected ${expected}`)
}
