/**
 * Writes services into the maps (Cilium: pkg/loadbalancer/reconciler). Running flows are not
 * disturbed: backends, their sets and everything else that a master entry names is there before it,
 * and goes only after it; a master entry changes whole.
 *
 * It keeps nothing that the maps do not have but the services' names and what is said of any address
 * of the node: a new writer over the same
 * maps takes over what is there, and `deleteUnclaimed` removes what nobody has set again.
 */
import { UpdateFlag } from '../maps/map.js'
import { AddressFilterWriter } from './address-filter.js'
import { type BackendSet, BackendSets } from './backend-sets.js'
import { MAGLEV_SIZE_DEFAULT, MAGLEV_SIZES } from './maglev.js'
import { insert, UndoList } from './map-edit.js'
import { ReverseNatWriter } from './reverse-nat-writer.js'
import {
  ANY_PORT,
  ANY_PROTOCOL,
  Scope,
  SERVICE_VALUE_WORDS,
  Service,
  ServiceFlag,
  servicePortWord,
} from './service-layout.js'
import type { ServiceMaps } from './service-maps.js'
import { adoptFrontends, type FrontendRecord } from './service-records.js'
import { ServiceSettings } from './service-settings.js'
import {
  type Frontend,
  invalid,
  isOfAnyAddress,
  type NodeView,
  ownsAddress,
  planService,
  type ServicePlan,
  type ServiceSpec,
} from './service-spec.js'
import { SideEntries } from './side-entries.js'

export interface ServiceWriterOptions {
  readonly node: NodeView
  /** One of MAGLEV_SIZES; 16,381 unless given. */
  readonly maglevTableSize?: number
}

/** A frontend of a plan with all that its master entries will name. */
interface Staged {
  readonly frontend: Frontend
  readonly before: FrontendRecord | undefined
  readonly revNatIndex: number
  readonly external: BackendSet
  readonly internal: BackendSet | undefined
  readonly affinityIds: readonly number[]
}

export class ServiceWriter {
  readonly #maps: ServiceMaps
  readonly #options: ServiceWriterOptions
  readonly #settings: ServiceSettings
  readonly #sets: BackendSets
  readonly #reverseNat: ReverseNatWriter
  readonly #filter: AddressFilterWriter
  readonly #side: SideEntries
  readonly #records: Map<string, FrontendRecord>
  /** Frontends for which unknown ports of an address are dropped, by its last word. */
  readonly #owners = new Map<number, number>()
  /** Services with a frontend at 0.0.0.0, by name. */
  readonly #ofAnyAddress = new Map<string, ServiceSpec>()

  constructor(maps: ServiceMaps, options: ServiceWriterOptions) {
    const size = options.maglevTableSize ?? MAGLEV_SIZE_DEFAULT
    if (!MAGLEV_SIZES.includes(size)) {
      throw invalid('maglevTableSize', `'${size}'`, `one of ${MAGLEV_SIZES.join(', ')}`)
    }
    this.#maps = maps
    this.#options = options
    this.#settings = new ServiceSettings(maps.settings)
    this.#sets = new BackendSets(maps)
    this.#reverseNat = new ReverseNatWriter(maps.reverseNat)
    this.#filter = new AddressFilterWriter(maps.addressFilter)
    this.#side = new SideEntries(maps)
    this.#records = adoptFrontends(maps, this.#sets, options.node.addresses())
    this.#adoptRest()
  }

  /** Names of the services that have been set. */
  get names(): ReadonlySet<string> {
    const names = [...this.#records.values()].map((record) => record.service)
    return new Set(names.filter((name) => name !== undefined))
  }

  /**
   * Adds a service, or makes the one of that name so. ECONFIG_INVALID or EMAP_FULL, with nothing
   * changed, when it cannot be.
   */
  set(spec: ServiceSpec): void {
    const plan = planService(spec, this.#options.node)
    for (const { key } of plan.frontends) {
      const owner = this.#records.get(key)?.service
      if (owner === undefined || owner === plan.name) continue
      throw invalid(`service '${plan.name}': frontends`, key, `one that '${owner}' does not have`)
    }
    const undo = new UndoList()
    let staged: Staged[]
    try {
      staged = this.#stage(plan, undo)
      for (const one of staged) this.#insertMasters(plan, one, undo)
    } catch (error) {
      undo.run()
      throw error
    }
    this.#commit(plan, staged)
    if (isOfAnyAddress(spec)) this.#ofAnyAddress.set(spec.name, spec)
    else this.#ofAnyAddress.delete(spec.name)
  }

  /**
   * The node has other addresses now: services at any of them are made so, and frontends own what is
   * not the node's. EMAP_FULL as `set`, what the node has got being open even then.
   */
  renewAddresses(): void {
    for (const record of this.#wrongOwners(true)) {
      record.ownsAddress = false
      this.#countOwner(record.address, -1)
    }
    for (const spec of this.#ofAnyAddress.values()) this.set(spec)
    for (const record of this.#wrongOwners(false)) {
      this.#insertWildcard(record.address, new UndoList())
      record.ownsAddress = true
      this.#countOwner(record.address, 1)
    }
  }

  /** Frontends that own their address, or do not, and now it is the other way round. */
  #wrongOwners(areOwners: boolean): FrontendRecord[] {
    const addresses = this.#options.node.addresses()
    return [...this.#records.values()].filter((record) => {
      if (record.ownsAddress !== areOwners) return false
      return ownsAddress(record.flags, record.address[3] as number, addresses) !== areOwners
    })
  }

  /** False when there is no service of that name. */
  delete(name: string): boolean {
    const mine = [...this.#records].filter(([, record]) => record.service === name)
    for (const [key, record] of mine) this.#remove(key, record)
    return this.#ofAnyAddress.delete(name) || mine.length > 0
  }

  /**
   * Deletes the frontends of an earlier control plane that no `set` has named since; returns how
   * many.
   */
  deleteUnclaimed(): number {
    const left = [...this.#records].filter(([, record]) => record.service === undefined)
    for (const [key, record] of left) this.#remove(key, record)
    return left.length
  }

  /** Everything but the master entries of what is there already; nothing that packets see. */
  #stage(plan: ServicePlan, undo: UndoList): Staged[] {
    const cache = new Map<string, BackendSet>()
    return plan.frontends.map((frontend) => {
      const { isExternalLocal, isInternalLocal } = plan
      const isExternal = (frontend.flags & ServiceFlag.ROUTABLE) !== 0
      const hasTwoScopes = isExternal && isExternalLocal !== isInternalLocal
      const outer = isExternal ? isExternalLocal : isInternalLocal
      const external = this.#setFor(plan, frontend.protocol, outer, cache, undo)
      const internal = hasTwoScopes
        ? this.#setFor(plan, frontend.protocol, isInternalLocal, cache, undo)
        : undefined
      const before = this.#records.get(frontend.key)
      const revNatIndex = before?.revNatIndex ?? this.#addReverseNat(frontend, undo)
      const offered = [external, internal].flatMap((set) => set?.ids.slice(0, set.count) ?? [])
      const affinityIds = plan.affinitySeconds > 0 ? [...new Set(offered)] : []
      this.#side.addMatches(revNatIndex, affinityIds, undo)
      this.#side.addRanges(revNatIndex, plan.sourceRanges, undo)
      return { frontend, before, revNatIndex, external, internal, affinityIds }
    })
  }

  /**
   * The backends of one protocol, all or the node's own; frontends with the same ones share a set.
   */
  #setFor(
    plan: ServicePlan,
    protocol: number,
    isLocal: boolean,
    cache: Map<string, BackendSet>,
    undo: UndoList,
  ): BackendSet {
    const key = `${protocol}/${isLocal}`
    const known = cache.get(key)
    if (known !== undefined) {
      known.holders++
      undo.add(() => this.#sets.release(known))
      return known
    }
    const backends = isLocal ? plan.backends.filter((backend) => backend.isLocal) : plan.backends
    const tableSize = this.#options.maglevTableSize ?? MAGLEV_SIZE_DEFAULT
    const size = plan.isMaglev ? tableSize : 0
    const set = this.#sets.create(backends, protocol, size, this.#settings.maglevSeed)
    undo.add(() => this.#sets.release(set))
    cache.set(key, set)
    return set
  }

  #addReverseNat(frontend: Frontend, undo: UndoList): number {
    const index = this.#reverseNat.add(frontend.address, frontend.port)
    undo.add(() => this.#reverseNat.remove(index))
    return index
  }

  /** The entries that are not there yet, the one that packets look up first last. */
  #insertMasters(plan: ServicePlan, staged: Staged, undo: UndoList): void {
    const { frontend, external, internal } = staged
    const { services } = this.#maps
    if (staged.before === undefined) {
      this.#filter.add(frontend.address4)
      undo.add(() => this.#filter.remove(frontend.address4))
    }
    if (internal !== undefined) {
      insert(services, keyOf(frontend, Scope.INTERNAL), masterValue(plan, staged, internal), undo)
    }
    insert(services, keyOf(frontend, Scope.EXTERNAL), masterValue(plan, staged, external), undo)
    if (!frontend.ownsAddress) return
    if (staged.before?.ownsAddress !== true) {
      this.#countOwner(frontend.address, 1)
      undo.add(() => this.#countOwner(frontend.address, -1))
    }
    this.#insertWildcard(frontend.address, undo)
  }

  #insertWildcard(address: Int32Array, undo: UndoList): void {
    const { services } = this.#maps
    insert(services, wildcardKey(address), new Int32Array(SERVICE_VALUE_WORDS), undo)
  }

  /** Nothing here can fail: every key is there. */
  #commit(plan: ServicePlan, staged: readonly Staged[]): void {
    const { services } = this.#maps
    for (const one of staged) {
      const { frontend, external, internal, before } = one
      if (before === undefined) continue
      const internalKey = keyOf(frontend, Scope.INTERNAL)
      if (internal !== undefined) {
        services.update(internalKey, masterValue(plan, one, internal), UpdateFlag.ANY)
      }
      const key = keyOf(frontend, Scope.EXTERNAL)
      services.update(key, masterValue(plan, one, external), UpdateFlag.ANY)
      if (internal === undefined && before.internal !== undefined) services.delete(internalKey)
    }
    for (const one of staged) this.#record(plan, one)
    this.#setStates(plan, staged)
    const named = new Set(plan.frontends.map((frontend) => frontend.key))
    for (const [key, record] of [...this.#records]) {
      if (record.service === plan.name && !named.has(key)) this.#remove(key, record)
    }
  }

  /** Remembers a frontend as it is now, and gives back what only its old entries named. */
  #record(plan: ServicePlan, staged: Staged): void {
    const { frontend, before, revNatIndex, external, internal, affinityIds } = staged
    const { address, port, protocol, flags, ownsAddress } = frontend
    const { name: service, sourceRanges } = plan
    // New owners are counted already, so that their address stays owned.
    if (before?.ownsAddress === true && !ownsAddress) this.#countOwner(address, -1)
    if (before !== undefined) {
      const kept = new Set(affinityIds)
      const stale = before.affinityIds.filter((id) => !kept.has(id))
      this.#side.deleteMatches(revNatIndex, stale)
      this.#sets.release(before.external)
      if (before.internal !== undefined) this.#sets.release(before.internal)
    }
    this.#side.keepRanges(revNatIndex, before?.sourceRanges ?? [], sourceRanges)
    const row = { service, address, port, protocol, flags, ownsAddress, revNatIndex }
    this.#records.set(frontend.key, { ...row, external, internal, affinityIds, sourceRanges })
  }

  #setStates(plan: ServicePlan, staged: readonly Staged[]): void {
    const { backends } = this.#sets
    for (const protocol of new Set(staged.map((one) => one.frontend.protocol))) {
      for (const backend of plan.backends) backends.setState(backend, protocol)
    }
  }

  #remove(key: string, record: FrontendRecord): void {
    const { services } = this.#maps
    this.#records.delete(key)
    if (record.ownsAddress) this.#countOwner(record.address, -1)
    services.delete(keyOf(record, Scope.EXTERNAL))
    services.delete(keyOf(record, Scope.INTERNAL))
    this.#filter.remove(record.address[3] as number)
    this.#side.deleteMatches(record.revNatIndex, record.affinityIds)
    this.#side.keepRanges(record.revNatIndex, record.sourceRanges, [])
    this.#reverseNat.remove(record.revNatIndex)
    this.#sets.release(record.external)
    if (record.internal !== undefined) this.#sets.release(record.internal)
  }

  /**
   * With the last frontend that owns an address, its unknown ports are nobody's business any more.
   */
  #countOwner(address: Int32Array, by: number): void {
    const last = address[3] as number
    const count = (this.#owners.get(last) ?? 0) + by
    this.#owners.set(last, count)
    if (count > 0) return
    this.#owners.delete(last)
    this.#maps.services.delete(wildcardKey(address))
  }

  #adoptRest(): void {
    const matches = this.#side.matches()
    const ranges = this.#side.ranges()
    for (const record of this.#records.values()) {
      const { revNatIndex } = record
      this.#reverseNat.adopt(revNatIndex)
      this.#filter.add(record.address[3] as number)
      if (record.ownsAddress) this.#countOwner(record.address, 1)
      record.affinityIds = matches.get(revNatIndex) ?? []
      record.sourceRanges = ranges.get(revNatIndex) ?? []
      matches.delete(revNatIndex)
      ranges.delete(revNatIndex)
    }
    for (const [index, ids] of matches) this.#side.deleteMatches(index, ids)
    for (const [index, cidrs] of ranges) this.#side.keepRanges(index, cidrs, [])
    this.#reverseNat.clearUnused()
    this.#filter.clearUnused()
    this.#sets.backends.deleteUnheld()
    this.#deleteOrphanedWildcards()
  }

  #deleteOrphanedWildcards(): void {
    const { services } = this.#maps
    for (const slot of [...services.slots()]) {
      const at = services.keyStart(slot)
      const isWildcard = services.words[at + 4] === 0
      if (isWildcard && !this.#owners.has(services.words[at + 3] as number)) {
        services.deleteSlot(slot)
      }
    }
  }
}

function keyOf(
  frontend: { readonly address: Int32Array; readonly port: number; readonly protocol: number },
  scope: Scope,
): Int32Array {
  return Int32Array.of(
    ...frontend.address,
    servicePortWord(frontend.port, frontend.protocol, scope),
  )
}

const wildcardKey = (address: Int32Array): Int32Array =>
  Int32Array.of(...address, servicePortWord(ANY_PORT, ANY_PROTOCOL, Scope.EXTERNAL))

function masterValue(plan: ServicePlan, staged: Staged, set: BackendSet): Int32Array {
  const value = new Int32Array(SERVICE_VALUE_WORDS)
  let flags = staged.frontend.flags
  if (plan.affinitySeconds > 0) flags |= ServiceFlag.AFFINITY
  if (plan.isExternalLocal) flags |= ServiceFlag.EXTERNAL_LOCAL
  if (plan.isInternalLocal) flags |= ServiceFlag.INTERNAL_LOCAL
  if (plan.sourceRanges.length > 0) {
    flags |= ServiceFlag.SOURCE_RANGE
    if (plan.isSourceRangeDeny) flags |= ServiceFlag.SOURCE_RANGE_DENY
  }
  if (staged.internal !== undefined) flags |= ServiceFlag.TWO_SCOPES
  value[Service.COUNT] = set.count
  value[Service.TOTAL] = set.ids.length
  value[Service.SLOTS_START] = set.start
  value[Service.REV_NAT_INDEX] = staged.revNatIndex
  value[Service.FLAGS] = flags
  value[Service.AFFINITY_SECONDS] = plan.affinitySeconds
  value[Service.TABLE_START] = set.tableStart
  value[Service.TABLE_SIZE] = set.tableSize
  return value
}
