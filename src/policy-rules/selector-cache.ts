/**
 * Which identities each selector of the rules stands for, kept up to date as identities come and go
 * (Cilium: pkg/policy/selectorcache.go). A selector that several rules use is kept once.
 */
import { CidrIndex, CoverIndex } from './cidr-index.js'
import type { IdentityObserver } from './identity-registry.js'
import type { IdentityRecord, PeerSelector } from './rule.js'
import { SelectorIndex } from './selector-index.js'

/** A selector in use. */
export class CachedSelector<User> {
  readonly selector: PeerSelector
  readonly users = new Set<User>()
  readonly #identities = new Set<number>()
  #list: readonly number[] | undefined

  constructor(selector: PeerSelector) {
    this.selector = selector
  }

  /** Numbers in ascending order; the same array until they change. */
  get identities(): readonly number[] {
    this.#list ??= [...this.#identities].sort((a, b) => a - b)
    return this.#list
  }

  add(number: number): void {
    this.#identities.add(number)
    this.#list = undefined
  }

  delete(number: number): boolean {
    this.#list = undefined
    return this.#identities.delete(number)
  }
}

export class SelectorCache<User> implements IdentityObserver {
  readonly #selectors = new Map<string, CachedSelector<User>>()
  readonly #byLabels = new SelectorIndex<CachedSelector<User>>()
  readonly #byPrefix = new CoverIndex<CachedSelector<User>>()
  readonly #others = new Set<CachedSelector<User>>()
  readonly #identities = new Map<number, IdentityRecord>()
  readonly #cidrs = new CidrIndex<IdentityRecord>()
  readonly #onChange: (selector: CachedSelector<User>) => void

  /** @param onChange called for each selector that an identity came to, or went from */
  constructor(onChange: (selector: CachedSelector<User>) => void) {
    this.#onChange = onChange
  }

  acquire(selector: PeerSelector, user: User): CachedSelector<User> {
    let cached = this.#selectors.get(selector.text)
    if (cached === undefined) {
      cached = new CachedSelector<User>(selector)
      this.#selectors.set(selector.text, cached)
      this.#index(cached)
      for (const identity of this.#candidates(selector)) {
        if (selector.matches(identity)) cached.add(identity.number)
      }
    }
    cached.users.add(user)
    return cached
  }

  release(cached: CachedSelector<User>, user: User): void {
    cached.users.delete(user)
    if (cached.users.size > 0) return
    this.#selectors.delete(cached.selector.text)
    this.#unindex(cached)
  }

  identityAdded(identity: IdentityRecord): void {
    this.#identities.set(identity.number, identity)
    if (identity.cidr !== undefined) this.#cidrs.add(identity.cidr, identity)
    for (const cached of this.#selectorsFor(identity)) {
      if (!cached.selector.matches(identity)) continue
      cached.add(identity.number)
      this.#onChange(cached)
    }
  }

  /** What goes is out of the selectors; that an address had it may be known longer. */
  identityRemoved(identity: IdentityRecord): void {
    this.#identities.delete(identity.number)
    if (identity.cidr !== undefined) this.#cidrs.delete(identity.cidr)
    for (const cached of this.#selectorsFor(identity)) {
      if (cached.delete(identity.number)) this.#onChange(cached)
    }
  }

  #candidates({ within }: PeerSelector): Iterable<IdentityRecord> {
    return within === undefined ? this.#identities.values() : this.#cidrs.within(within)
  }

  /** All that may select it, and others. */
  *#selectorsFor({ labels, cidr }: IdentityRecord): Generator<CachedSelector<User>> {
    yield* this.#others
    yield* this.#byLabels.matching(labels)
    if (cidr !== undefined) yield* this.#byPrefix.covering(cidr)
  }

  #index(cached: CachedSelector<User>): void {
    const { within, labels } = cached.selector
    if (within !== undefined) this.#byPrefix.add(within, cached)
    else if (labels !== undefined) this.#byLabels.add(cached, labels)
    else this.#others.add(cached)
  }

  #unindex(cached: CachedSelector<User>): void {
    const { within, labels } = cached.selector
    if (within !== undefined) this.#byPrefix.delete(within, cached)
    else if (labels !== undefined) this.#byLabels.delete(cached, labels)
    else this.#others.delete(cached)
  }
}
