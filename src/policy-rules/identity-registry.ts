/**
 * Which security identity belongs to which labels (Cilium: pkg/identity/cache, pkg/allocator), and
 * which to a prefix outside the cluster (local identities, 1 << 24 and up).
 *
 * Numbers are given out in order and remembered: the same labels get the same number again, and a
 * number goes to other labels only when all are used up. What an earlier run gave out is an input.
 * Not here: agreement between nodes. Where numbers come from a store of the cluster, they are
 * learned (`learn`) and not given out.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { type Cidr, formatCidr } from '../wire/address.js'
import { RESERVED_LABELS } from './entities.js'
import { LabelSet, type Labels } from './labels.js'
import { FIRST_CLUSTER_IDENTITY, type IdentityRecord } from './rule.js'

const LAST_CLUSTER_IDENTITY = 0xffff
/** Scope of identities that only this node knows. */
export const LOCAL_SCOPE = 1 << 24
const LOCAL_NUMBERS = 0xff_ffff

export const isLocalIdentity = (number: number): boolean => number >>> 24 === LOCAL_SCOPE >>> 24

/** Of every prefix outside; selectors tell them apart by the prefix. */
const WORLD_LABELS = new LabelSet({ 'reserved:world': '' })

/** Told of identities that appear, before anything uses them, and go. */
export interface IdentityObserver {
  identityAdded(identity: IdentityRecord): void
  identityRemoved(identity: IdentityRecord): void
}

/** What another run has to know to give the same numbers. */
export interface NumberedLabels {
  readonly number: number
  readonly labels: Labels
}

interface Claimed {
  readonly identity: IdentityRecord
  claims: number
}

export class IdentityRegistry {
  readonly #live = new Map<number, Claimed>()
  /** By the text of the labels, in the order of their last release; live ones too. */
  readonly #remembered = new Map<string, NumberedLabels>()
  readonly #labelsOfNumber = new Map<number, string>()
  readonly #numberOfCidr = new Map<string, number>()
  readonly #observers: IdentityObserver[] = []
  #lastCluster = FIRST_CLUSTER_IDENTITY - 1
  #lastLocal = 0

  constructor(remembered: Iterable<NumberedLabels> = []) {
    for (const [number, label] of RESERVED_LABELS) {
      const identity = { number, labels: new LabelSet({ [label]: '' }) }
      this.#live.set(number, { identity, claims: 1 })
      this.#remember(number, identity.labels)
    }
    for (const { number, labels } of remembered) {
      checkClusterNumber(number)
      this.#remember(number, new LabelSet(labels))
      this.#lastCluster = Math.max(this.#lastCluster, number)
    }
  }

  /** Tells of all identities there are, and from now on of each change. */
  observe(observer: IdentityObserver): void {
    for (const { identity } of this.#live.values()) observer.identityAdded(identity)
    this.#observers.push(observer)
  }

  get(number: number): IdentityRecord | undefined {
    return this.#live.get(number)?.identity
  }

  /** To be kept, and given to the registry of the next run. */
  snapshot(): NumberedLabels[] {
    const all = [...this.#remembered.values()]
    return all.filter(({ number }) => number >= FIRST_CLUSTER_IDENTITY)
  }

  /**
   * The number of these labels, given out now if they have none. Counted: as many `release` as
   * `claim`. EMAP_FULL when every number is in use.
   */
  claim(labels: Labels): number {
    const set = new LabelSet(labels)
    const known = this.#remembered.get(set.text)
    const number = known?.number ?? this.#nextCluster()
    this.#claimNumber(number, set)
    return number
  }

  /** The same with a number that the cluster's store gave out: 256 to 65535. */
  learn(number: number, labels: Labels): void {
    checkClusterNumber(number)
    const set = new LabelSet(labels)
    const present = this.#live.get(number)
    if (present !== undefined && present.identity.labels.text !== set.text) {
      throw invalid('identity.number', number, `a number that '${set.text}' may have`)
    }
    this.#claimNumber(number, set)
  }

  /**
   * Other labels for a number that the cluster's store gave out: its namespace was labelled anew, say.
   * All claims of it are kept.
   */
  relabel(number: number, labels: Labels): void {
    const set = new LabelSet(labels)
    const present = this.#live.get(number)
    if (present === undefined || present.identity.labels.text === set.text) return
    for (const observer of this.#observers) observer.identityRemoved(present.identity)
    this.#remember(number, set)
    const identity = { number, labels: set }
    this.#live.set(number, { identity, claims: present.claims })
    for (const observer of this.#observers) observer.identityAdded(identity)
  }

  release(number: number): void {
    const claimed = this.#live.get(number)
    if (claimed === undefined || number < FIRST_CLUSTER_IDENTITY) return
    claimed.claims--
    if (claimed.claims > 0) return
    this.#live.delete(number)
    const { cidr } = claimed.identity
    if (cidr !== undefined) this.#numberOfCidr.delete(formatCidr(cidr))
    // To the end: whoever was released last keeps the number longest.
    else this.#remember(number, claimed.identity.labels)
    for (const observer of this.#observers) observer.identityRemoved(claimed.identity)
  }

  /** The local identity of a prefix; counted, as `claim` is. */
  claimCidr(cidr: Cidr): number {
    const text = formatCidr(cidr)
    const present = this.#numberOfCidr.get(text)
    if (present !== undefined) {
      this.#count(present)
      return present
    }
    const number = this.#nextLocal()
    this.#addCidr(number, cidr, text)
    return number
  }

  /** A prefix's number of an earlier run, as its ipcache still has it; claimed once. */
  restoreCidr(number: number, cidr: Cidr): void {
    const text = formatCidr(cidr)
    if (!isLocalIdentity(number) || this.#live.has(number) || this.#numberOfCidr.has(text)) {
      throw invalid('identity.number', number, `a local number for ${text} that is not in use`)
    }
    this.#lastLocal = Math.max(this.#lastLocal, number & LOCAL_NUMBERS)
    this.#addCidr(number, cidr, text)
  }

  #addCidr(number: number, cidr: Cidr, text: string): void {
    this.#numberOfCidr.set(text, number)
    this.#add({ number, labels: WORLD_LABELS, cidr })
  }

  #claimNumber(number: number, labels: LabelSet): void {
    if (this.#live.has(number)) {
      this.#count(number)
      return
    }
    this.#remember(number, labels)
    this.#add({ number, labels })
  }

  #add(identity: IdentityRecord): void {
    this.#live.set(identity.number, { identity, claims: 1 })
    for (const observer of this.#observers) observer.identityAdded(identity)
  }

  #count(number: number): void {
    const claimed = this.#live.get(number)
    if (claimed !== undefined) claimed.claims++
  }

  #remember(number: number, { text, labels }: LabelSet): void {
    const before = this.#labelsOfNumber.get(number)
    if (before !== undefined) this.#remembered.delete(before)
    this.#remembered.set(text, { number, labels })
    this.#labelsOfNumber.set(number, text)
  }

  #nextCluster(): number {
    while (this.#lastCluster < LAST_CLUSTER_IDENTITY) {
      this.#lastCluster++
      if (!this.#labelsOfNumber.has(this.#lastCluster)) return this.#lastCluster
    }
    for (const { number } of this.#remembered.values()) {
      if (!this.#live.has(number)) return number
    }
    const range = `${FIRST_CLUSTER_IDENTITY} to ${LAST_CLUSTER_IDENTITY}`
    throw new RingpathError(ErrorCode.MAP_FULL, `identities: all of ${range} are in use`)
  }

  #nextLocal(): number {
    for (let tries = 0; tries < LOCAL_NUMBERS; tries++) {
      this.#lastLocal = (this.#lastLocal % LOCAL_NUMBERS) + 1
      const number = LOCAL_SCOPE | this.#lastLocal
      if (!this.#live.has(number)) return number
    }
    throw new RingpathError(ErrorCode.MAP_FULL, 'identities: all local numbers are in use')
  }
}

function checkClusterNumber(number: number): void {
  const isWhole = Number.isInteger(number)
  if (isWhole && number >= FIRST_CLUSTER_IDENTITY && number <= LAST_CLUSTER_IDENTITY) return
  const range = `${FIRST_CLUSTER_IDENTITY} to ${LAST_CLUSTER_IDENTITY}`
  throw invalid('identity.number', number, `a whole number from ${range}`)
}

function invalid(field: string, value: number, expected: string): RingpathError {
  return new RingpathError(ErrorCode.CONFIG_INVALID, `${field}: '${value}', expected ${expected}`)
}
