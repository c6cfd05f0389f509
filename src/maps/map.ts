/**
 * The vocabulary of every map: a spec is plain data, a map is that spec on memory which workers and
 * processes share. Keys and values are int32 words; a slot is a map's number for one entry and
 * stays the same while the entry lives.
 */

export const MapType = {
  HASH: 'hash',
  LRU_HASH: 'lru-hash',
  LPM: 'lpm',
  ARRAY: 'array',
  COUNTER: 'counter',
  EVENT_RING: 'event-ring',
} as const
export type MapType = (typeof MapType)[keyof typeof MapType]

export interface MapSpec {
  /** 1 to 63 bytes of UTF-8. */
  readonly name: string
  readonly type: MapType
  /**
   * 32-bit words of a key, 1 to 64; 0 where the key is an index (array, counter, event-ring); 4 of
   * an lpm.
   */
  readonly keyWords: number
  /**
   * 32-bit words of a value (of a record, of an event ring); 2 of a counter, which is one double.
   */
  readonly valueWords: number
  /** Entries at most; an event ring's number of records, a power of two. */
  readonly maxEntries: number
  /**
   * lru-hash: the value word that holds the time of last use, by which the oldest entry is found. 0
   * unless given.
   */
  readonly stampWord?: number
  /** lpm: tables of 256 entries for IPv4 prefixes longer than /16; see `defaultTables`. */
  readonly tables?: number
  /** counter: rows, one per worker. 1 unless given. */
  readonly workers?: number
}

/** What belongs to this handle and not to the memory. */
export interface MapOptions {
  /** Where the map begins in the buffer; a multiple of 64 bytes. */
  readonly byteOffset?: number
  /**
   * Seed of the default hash, written by `create`. Random unless given, so that nobody can aim at
   * one slot.
   */
  readonly seed?: number
  /**
   * Words of a map in whose header the changes of this one are counted as well (revision.ts): one look
   * there instead of one at each map.
   */
  readonly total?: Int32Array
  /**
   * Whether the process that holds a lock still runs; by default a signal 0 is tried (same pid
   * namespace).
   */
  readonly isProcessAlive?: (processId: number) => boolean
  /**
   * How long a lock may be held without any sign of life before it is taken over. 250 unless given.
   */
  readonly lockPatienceMilliseconds?: number
}

/** What every map offers to dumps and gauges. */
export interface FixedMap {
  readonly spec: MapSpec
  readonly words: Int32Array
  /** Entries now. */
  readonly size: number
  /** Entries at most. */
  readonly capacity: number
}

/** A slot, at least 0, or one of the negative answers below. */
export type Slot = number
export const NOT_FOUND = -1
/** From `update` with NO_EXIST: the key is there already. */
export const EXISTS = -2
/**
 * From `update`: the map holds `maxEntries` entries (an lpm: or no table is free), and its kind
 * does not evict.
 */
export const FULL = -3

/** When `update` may write, as BPF_ANY, BPF_NOEXIST and BPF_EXIST of the bpf(2) map commands. */
export const UpdateFlag = { ANY: 0, NO_EXIST: 1, EXIST: 2 } as const
export type UpdateFlag = (typeof UpdateFlag)[keyof typeof UpdateFlag]

/** The static side of each kind of map. */
export interface MapKind<M> {
  bytesFor(spec: MapSpec): number
  create(spec: MapSpec, buffer: ArrayBufferLike, options?: MapOptions): M
  open(buffer: ArrayBufferLike, expected?: MapSpec, options?: MapOptions): M
}

/** Makes a map, or opens the one that is there. */
export type MakeMap = <M extends FixedMap>(kind: MapKind<M>, spec: MapSpec) => M
