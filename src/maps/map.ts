/**
 * The vocabulary of every map: a spec is plain data, a map is that spec on memory which workers and processes share.
 * Keys and values are int32 words; a slot is a map's number for one entry and stays the same while the entry lives.
 */

export interface MapSpec {
  readonly name: string
  readonly type: 'hash' | 'lru-hash' | 'lpm' | 'array'
  /** 32-bit words of a key; an array's key is its index (0 words). */
  readonly keyWords: number
  readonly valueWords: number
  readonly maxEntries: number
}

/** A slot, at least 0, or NOT_FOUND. */
export type Slot = number
export const NOT_FOUND = -1
/** From `update` with NO_EXIST: the key is there already. */
export const EXISTS = -2
/** From `update`: the map holds `maxEntries` entries, and its kind does not evict. */
export const FULL = -3

/** When `update` may write, as BPF_ANY, BPF_NOEXIST and BPF_EXIST of the bpf(2) map commands. */
export const UpdateFlag = { ANY: 0, NO_EXIST: 1, EXIST: 2 } as const
export type UpdateFlag = (typeof UpdateFlag)[keyof typeof UpdateFlag]
