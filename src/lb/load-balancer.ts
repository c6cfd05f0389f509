/**
 * The backend of a flow to a service (Cilium: lb4_local): the one that its connection entry names,
 * else the one that its client had before (session affinity), else a new choice. It knows nothing
 * of packets: the stage that asks also rewrites.
 */
import { REPEATED_SECONDS_MAX } from '../base/limits.js'
import type { Prng } from '../base/prng.js'
import type { Conntrack } from '../conntrack/conntrack.js'
import { CtDirection, CtResult, isCreateAction } from '../conntrack/ct-entry.js'
import { NOT_FOUND } from '../maps/map.js'
import { TupleWord } from '../wire/tuple.js'
import { AddressFilter } from './address-filter.js'
import { Affinity } from './affinity.js'
import { BackendTable } from './backend-table.js'
import { NO_BACKEND, Scope, ServiceFlag } from './service-layout.js'
import type { ServiceMaps } from './service-maps.js'
import { ServiceSettings } from './service-settings.js'
import { ServiceMatch, ServiceTable } from './service-table.js'
import { SourceRanges } from './source-ranges.js'

export const Balance = {
  /** The packet goes to no service. */
  NONE: 0,
  /** `backend` and `revNatIndex` say where the packet goes. */
  TO_BACKEND: 1,
  NO_BACKEND: 2,
  /** A service's address, but no port of it. */
  UNKNOWN_PORT: 3,
  /** The flow's entry could not be made. */
  TABLE_FULL: 4,
  /** The service does not admit the client. */
  NOT_IN_SOURCE_RANGE: 5,
  /** The client is outside, and the service only for the cluster. */
  IS_CLUSTER_IP: 6,
} as const
export type Balance = (typeof Balance)[keyof typeof Balance]

const SOURCE4 = TupleWord.SOURCE + 3

export class LoadBalancer {
  readonly #conntrack: Conntrack
  readonly #filter: AddressFilter
  readonly #services: ServiceTable
  readonly #affinity: Affinity
  readonly #sourceRanges: SourceRanges
  readonly #settings: ServiceSettings

  /** Of the last `balance` that was TO_BACKEND. */
  readonly backend: BackendTable
  revNatIndex = 0

  constructor(maps: ServiceMaps, conntrack: Conntrack, prng: Prng) {
    this.#conntrack = conntrack
    this.#filter = new AddressFilter(maps.addressFilter)
    this.#services = new ServiceTable(maps, prng)
    this.#affinity = new Affinity(maps.affinity, maps.affinityMatch)
    this.#sourceRanges = new SourceRanges(maps.sourceRanges, maps.sourceRangeLengths)
    this.#settings = new ServiceSettings(maps.settings)
    this.backend = new BackendTable(maps.backends)
  }

  /** Call it before each packet. */
  beginPacket(): void {
    this.#affinity.beginPacket()
  }

  /** The packet is dropped: its client's affinity is as before. */
  undo(): void {
    this.#affinity.undo()
  }

  /** False, for sure, when no service has the address: ask first, it is cheap. */
  mayBeService(address4: number): boolean {
    return this.#filter.mayHold(address4)
  }

  /**
   * @param start index in `words` of the packet's tuple, with the service as its destination
   * @param hash flowHash of the tuple
   * @param tcpFlags flag byte of a TCP packet, 0 of any other
   * @param scope EXTERNAL: the client is outside of the cluster, and held to what the service says of
   * such clients
   */
  balance(
    words: Int32Array,
    start: number,
    hash: number,
    tcpFlags: number,
    lengthBytes: number,
    nowSeconds: number,
    scope: Scope,
  ): Balance {
    const destination = start + TupleWord.DESTINATION
    const ports = words[start + TupleWord.PORTS] as number
    const protocol = words[start + TupleWord.PROTOCOL] as number
    const services = this.#services
    const match = services.lookup(words, destination, ports & 0xffff, protocol, scope)
    if (match === ServiceMatch.NONE) return Balance.NONE
    if (match === ServiceMatch.UNKNOWN_PORT) return Balance.UNKNOWN_PORT
    this.revNatIndex = services.revNatIndex
    if ((services.flags & ServiceFlag.FOREIGN_ADDRESS) !== 0 && this.#passes(words, start, scope)) {
      return Balance.NONE
    }
    if (scope === Scope.EXTERNAL) {
      if (!this.#admits(words, start)) return Balance.NOT_IN_SOURCE_RANGE
      if (!this.#isReachable()) return Balance.IS_CLUSTER_IP
    }

    const service = CtDirection.SERVICE
    const found = this.#conntrack.lookup(
      words,
      start,
      hash,
      service,
      tcpFlags,
      lengthBytes,
      nowSeconds,
    )
    let id: number
    if (found === CtResult.NEW) {
      const isFirst = this.#conntrack.slot === NOT_FOUND
      id = this.#chooseForClient(words, start, nowSeconds)
      if (id === NO_BACKEND) return Balance.NO_BACKEND
      const isCreated = this.#conntrack.create(
        words,
        start,
        hash,
        service,
        0,
        lengthBytes,
        nowSeconds,
        services.revNatIndex,
        0,
        id,
      )
      if (!isCreated) return Balance.TABLE_FULL
      if (isFirst) id = this.#agree(id)
    } else {
      id = this.#keep(words, start, tcpFlags)
      if (id === NO_BACKEND) return Balance.NO_BACKEND
    }
    if (services.affinitySeconds > 0) {
      this.#affinity.remember(words, start, services.revNatIndex, id, nowSeconds)
    }
    return Balance.TO_BACKEND
  }

  /**
   * For an ICMP error about a flow of a service, seen on the service's side: the backend of the
   * flow whose packet is quoted. True with `backend` loaded when there is one.
   *
   * @param quoted tuple of the quoted packet, which came from the service
   */
  findRelated(quoted: Int32Array): boolean {
    const found = this.#conntrack.lookupRelated(quoted, 0, CtDirection.SERVICE)
    return found === CtResult.RELATED && this.backend.load(this.#conntrack.backendId)
  }

  /**
   * Of the last `balance` that was TO_BACKEND: the affinity that keeps the client's backend would grow
   * old while packets are repeated without being balanced.
   */
  get needsEachPacket(): boolean {
    const { affinitySeconds } = this.#services
    return affinitySeconds > 0 && affinitySeconds <= REPEATED_SECONDS_MAX
  }

  /** Of the service found last: it is a port of this node for pods of this node alone. */
  get isHostPort(): boolean {
    return (this.#services.flags & ServiceFlag.HOST_PORT) !== 0
  }

  /** What is not redirected: packets from outside, and, if so told, those of the backends. */
  #passes(words: Int32Array, start: number, scope: Scope): boolean {
    if (scope === Scope.EXTERNAL) return true
    if ((this.#services.flags & ServiceFlag.SKIP_FROM_BACKEND) === 0) return false
    return this.#services.hasBackendAt(words[start + SOURCE4] as number, this.backend)
  }

  #admits(words: Int32Array, start: number): boolean {
    const { flags, revNatIndex } = this.#services
    if ((flags & ServiceFlag.SOURCE_RANGE) === 0) return true
    const isInRange = this.#sourceRanges.admits(revNatIndex, words, start + TupleWord.SOURCE)
    return isInRange !== ((flags & ServiceFlag.SOURCE_RANGE_DENY) !== 0)
  }

  #isReachable(): boolean {
    return (this.#services.flags & ServiceFlag.ROUTABLE) !== 0 || this.#settings.externalClusterIp
  }

  /**
   * The backend of a running flow. One that new flows may not go to (draining, or no longer the
   * service's) keeps it, but gets no new connection of the same ports.
   */
  #keep(words: Int32Array, start: number, tcpFlags: number): number {
    // Of an entry that another worker has just evicted the number means nothing.
    const found = this.#conntrack.backendId
    const id = this.#conntrack.isThere ? found : NO_BACKEND
    const isOpening = isCreateAction(tcpFlags)
    if (this.backend.load(id) && !(isOpening && !this.#services.offers(id))) return id
    const other = this.#choose(words, start)
    if (other !== NO_BACKEND) this.#conntrack.setBackend(other, this.revNatIndex)
    return other
  }

  /**
   * Another worker may have begun the flow in the same moment, with a backend of its choice: then
   * that one is the flow's.
   */
  #agree(id: number): number {
    const other = this.#conntrack.replacedBackendId
    if (other === NO_BACKEND || other === id) return id
    if (!this.backend.load(other)) return this.backend.load(id) ? id : NO_BACKEND
    this.#conntrack.setBackend(other, this.revNatIndex)
    return other
  }

  #chooseForClient(words: Int32Array, start: number, nowSeconds: number): number {
    const { affinitySeconds, revNatIndex } = this.#services
    if (affinitySeconds === 0) return this.#choose(words, start)
    const known = this.#affinity.recall(words, start, revNatIndex, affinitySeconds, nowSeconds)
    if (this.backend.load(known)) return known
    const id = this.#choose(words, start)
    if (id === NO_BACKEND) return id
    const agreed = this.#affinity.claim(words, start, revNatIndex, id, nowSeconds)
    if (this.backend.load(agreed)) return agreed
    return this.backend.load(id) ? id : NO_BACKEND
  }

  #choose(words: Int32Array, start: number): number {
    const ports = words[start + TupleWord.PORTS] as number
    const protocol = words[start + TupleWord.PROTOCOL] as number
    const id = this.#services.choose(words, start, ports, protocol, this.#settings.maglevSeed)
    return this.backend.load(id) ? id : NO_BACKEND
  }
}
