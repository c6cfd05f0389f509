/**
 * The maps of a node by name, on memory that the caller provides: SharedArrayBuffers between
 * threads, files mapped into memory between processes. What is there already is adopted with its
 * entries when its format is the one asked for, and refused (EMAP_FORMAT) when not. One process
 * creates; it is not for two that race.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { ArrayMap } from './array-map.js'
import { CounterMap } from './counter-map.js'
import { EventRing } from './event-ring.js'
import { HashMap } from './hash-map.js'
import { LpmMap } from './lpm-map.js'
import { LruHashMap } from './lru-hash-map.js'
import { type FixedMap, type MapOptions, type MapSpec, MapType } from './map.js'
import { isBlank, specIn } from './map-header.js'

/**
 * The memory of the map with this name: what there is, of whatever size, or else `bytes` zeros or
 * more.
 */
export type Allocate = (name: string, bytes: number) => ArrayBufferLike

/** What each map class offers without an instance. */
export interface MapKind<M extends FixedMap> {
  bytesFor(spec: MapSpec): number
  create(spec: MapSpec, buffer: ArrayBufferLike, options?: MapOptions): M
  open(buffer: ArrayBufferLike, expected?: MapSpec, options?: MapOptions): M
}

const KINDS: Readonly<Record<MapType, MapKind<FixedMap>>> = {
  [MapType.HASH]: HashMap,
  [MapType.LRU_HASH]: LruHashMap,
  [MapType.LPM]: LpmMap,
  [MapType.ARRAY]: ArrayMap,
  [MapType.COUNTER]: CounterMap,
  [MapType.EVENT_RING]: EventRing,
}

/** Opens whatever map the memory holds, for dumps; EMAP_FORMAT when it holds none. */
export function openAny(buffer: ArrayBufferLike, options: MapOptions = {}): FixedMap {
  const spec = specIn(buffer, options.byteOffset)
  return KINDS[spec.type].open(buffer, undefined, options)
}

export class MapRegistry {
  readonly #allocate: Allocate
  readonly #options: MapOptions
  readonly #maps = new Map<string, FixedMap>()
  readonly #buffers = new Map<string, ArrayBufferLike>()

  constructor(allocate: Allocate, options: MapOptions = {}) {
    this.#allocate = allocate
    this.#options = options
  }

  hash(spec: MapSpec): HashMap {
    return this.add(HashMap, spec)
  }

  lruHash(spec: MapSpec): LruHashMap {
    return this.add(LruHashMap, spec)
  }

  lpm(spec: MapSpec): LpmMap {
    return this.add(LpmMap, spec)
  }

  array(spec: MapSpec): ArrayMap {
    return this.add(ArrayMap, spec)
  }

  counter(spec: MapSpec): CounterMap {
    return this.add(CounterMap, spec)
  }

  eventRing(spec: MapSpec): EventRing {
    return this.add(EventRing, spec)
  }

  /**
   * Creates the map, or adopts the one in the memory. A name is added once: EMAP_SPEC otherwise.
   */
  add<M extends FixedMap>(kind: MapKind<M>, spec: MapSpec): M {
    if (this.#maps.has(spec.name)) {
      throw new RingpathError(ErrorCode.MAP_SPEC, `map ${spec.name}: the name is in use`)
    }
    const buffer = this.#allocate(spec.name, kind.bytesFor(spec))
    const map = isBlank(buffer)
      ? kind.create(spec, buffer, this.#options)
      : kind.open(buffer, spec, this.#options)
    this.#maps.set(spec.name, map)
    this.#buffers.set(spec.name, buffer)
    return map
  }

  get(name: string): FixedMap | undefined {
    return this.#maps.get(name)
  }

  /** The memory of each map, to hand to a worker. */
  get buffers(): ReadonlyMap<string, ArrayBufferLike> {
    return this.#buffers
  }

  /** In the order of their addition. */
  [Symbol.iterator](): IterableIterator<FixedMap> {
    return this.#maps.values()
  }
}
