/**
 * Sets of backends in the maps: a run of ids, those for new flows first, and a Maglev table where
 * one is wanted. Frontends of a service that have the same backends share one. A set never changes:
 * a service gets another one, and the old is given back.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { BackendWriter } from './backend-writer.js'
import { fillMaglev } from './maglev.js'
import { RegionAllocator } from './region-allocator.js'
import { BackendState } from './service-layout.js'
import type { ServiceMaps } from './service-maps.js'
import type { PlannedBackend } from './service-spec.js'

export interface BackendSet {
  /** All its backends; the first `count` are for new flows. */
  readonly ids: readonly number[]
  readonly count: number
  readonly start: number
  readonly tableStart: number
  /** 0 for none. */
  readonly tableSize: number
  /** Master entries that name it. */
  holders: number
}

export class BackendSets {
  readonly backends: BackendWriter
  readonly #maps: ServiceMaps
  readonly #slots: RegionAllocator
  readonly #tables: RegionAllocator
  /** Sets that a control plane before us made, by the start of their run. */
  readonly #adopted = new Map<number, BackendSet>()

  constructor(maps: ServiceMaps) {
    this.#maps = maps
    this.backends = new BackendWriter(maps.backends)
    this.#slots = new RegionAllocator(maps.slots.capacity)
    this.#tables = new RegionAllocator(maps.maglev.capacity)
  }

  /**
   * Writes a set, held once. EMAP_FULL, and nothing kept, when there is no room.
   *
   * @param tableSize of its Maglev table, 0 for none
   */
  create(
    planned: readonly PlannedBackend[],
    protocol: number,
    tableSize: number,
    seed: number,
  ): BackendSet {
    const chosen = selectable(planned)
    const isChosen = new Set(chosen)
    const rest = planned.filter((backend) => !isChosen.has(backend))
    const ids: number[] = []
    let start = -1
    const needsTable = tableSize > 0 && chosen.length > 0
    const size = needsTable ? tableSize : 0
    try {
      for (const backend of [...chosen, ...rest]) ids.push(this.backends.acquire(backend, protocol))
      start = this.#slots.take(ids.length)
      if (start < 0) throw full(this.#maps.slots.spec.name, `${ids.length} backends of one service`)
      const tableStart = this.#tables.take(size)
      if (tableStart < 0) throw full(this.#maps.maglev.spec.name, `a table of ${size}`)
      this.#maps.slots.words.set(ids, this.#maps.slots.valueStart(start))
      if (needsTable) this.#fillTable(tableStart, size, chosen, ids, seed)
      return { ids, count: chosen.length, start, tableStart, tableSize: size, holders: 1 }
    } catch (error) {
      if (start >= 0) this.#slots.give(start, ids.length)
      for (const id of ids) this.backends.release(id)
      throw error
    }
  }

  /** The set that a master entry of an earlier control plane names, held once more. */
  adopt(count: number, total: number, start: number, tableStart: number, size: number): BackendSet {
    const known = total > 0 ? this.#adopted.get(start) : undefined
    if (known !== undefined) {
      known.holders++
      return known
    }
    this.#slots.reserve(start, total)
    this.#tables.reserve(tableStart, size)
    const first = this.#maps.slots.valueStart(start)
    const ids = [...this.#maps.slots.words.subarray(first, first + total)]
    for (const id of ids) this.backends.hold(id)
    const set = { ids, count, start, tableStart, tableSize: size, holders: 1 }
    if (total > 0) this.#adopted.set(start, set)
    return set
  }

  release(set: BackendSet): void {
    if (--set.holders > 0) return
    if (this.#adopted.get(set.start) === set) this.#adopted.delete(set.start)
    this.#slots.give(set.start, set.ids.length)
    this.#tables.give(set.tableStart, set.tableSize)
    for (const id of set.ids) this.backends.release(id)
  }

  #fillTable(
    start: number,
    size: number,
    chosen: readonly PlannedBackend[],
    ids: readonly number[],
    seed: number,
  ): void {
    const { maglev } = this.#maps
    const first = maglev.valueStart(start)
    const table = maglev.words.subarray(first, first + size)
    const weighted = chosen.map(({ address4, port, weight }, i) => {
      return { address4, port, weight: Math.max(1, weight), id: ids[i] as number }
    })
    fillMaglev(table, weighted, seed)
  }
}

/**
 * The backends for new flows: the active ones, or, so that a rolling update loses nothing, the
 * terminating ones while there is no other (Kubernetes KEP-1669).
 */
function selectable(planned: readonly PlannedBackend[]): PlannedBackend[] {
  const ofState = (state: BackendState) =>
    planned.filter((backend) => backend.state === state && backend.weight > 0)
  const active = ofState(BackendState.ACTIVE)
  return active.length > 0 ? active : ofState(BackendState.TERMINATING)
}

function full(map: string, what: string): RingpathError {
  return new RingpathError(ErrorCode.MAP_FULL, `map ${map}: no room for ${what}; raise its size`)
}
