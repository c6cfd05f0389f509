/**
 * The ports of the later fragments of a datagram, which only its first one holds (Cilium:
 * bpf/lib/ipfrag.h, ipv4_frag_datagrams). Keyed as RFC 791 section 3.2 tells fragments apart: both
 * addresses, identification, protocol.
 *
 * Bounded twice: by its entries, of which the one that expires first goes when there is no room,
 * and by time, so that an identification that comes round again does not meet old ports. Not here:
 * reassembly, and keeping later fragments until their first one comes.
 */
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { type MapSpec, NOT_FOUND, UpdateFlag } from '../maps/map.js'
import { TupleWord } from '../wire/tuple.js'

/**
 * RFC 791 suggests to wait 15 s for a datagram to be whole, RFC 1122 section 3.3.2 60 s; Linux
 * waits 30. Counted from the first fragment, as a receiver does: later ones prolong nothing.
 */
export const FRAGMENT_SECONDS = 30
/** As Cilium's. */
export const FRAGMENTS_DEFAULT = 8192

/** Identification << 8 | protocol. */
const KEY = { SOURCE: 0, DESTINATION: 1, DATAGRAM: 2 } as const
const KEY_WORDS = 3
const VALUE = { PORTS: 0, EXPIRES: 1 } as const
const VALUE_WORDS = 2

const SOURCE4 = TupleWord.SOURCE + 3
const DESTINATION4 = TupleWord.DESTINATION + 3

export const fragmentsSpec = (maxEntries: number): MapSpec => ({
  name: 'fragments',
  type: 'lru-hash',
  keyWords: KEY_WORDS,
  valueWords: VALUE_WORDS,
  maxEntries,
  stampWord: VALUE.EXPIRES,
})

export class FragmentTable {
  readonly #map: LruHashMap
  readonly #key = new Int32Array(KEY_WORDS)
  readonly #value = new Int32Array(VALUE_WORDS)

  /** Source << 16 | destination: of the last `find` that was true. */
  ports = 0

  constructor(map: LruHashMap) {
    this.#map = map
  }

  /**
   * Remembers the ports of a first fragment, in place of those of an earlier datagram with this
   * key. False when other threads took all the room that was made for it.
   *
   * @param start index in `words` of the fragment's tuple
   */
  store(words: Int32Array, start: number, identification: number, nowSeconds: number): boolean {
    this.#setKey(words, start, identification)
    this.#value[VALUE.PORTS] = words[start + TupleWord.PORTS] as number
    this.#value[VALUE.EXPIRES] = nowSeconds + FRAGMENT_SECONDS
    return this.#map.update(this.#key, this.#value, UpdateFlag.ANY) >= 0
  }

  /** True, and `ports` set, when the first fragment of the same datagram has been seen. */
  find(words: Int32Array, start: number, identification: number, nowSeconds: number): boolean {
    this.#setKey(words, start, identification)
    const slot = this.#map.lookup(this.#key)
    if (slot === NOT_FOUND) return false
    const generation = this.#map.foundGeneration
    const value = this.#map.valueStart(slot)
    const restSeconds = ((this.#map.words[value + VALUE.EXPIRES] as number) - nowSeconds) | 0
    this.ports = this.#map.words[value + VALUE.PORTS] as number
    // Evicted by another worker meanwhile, and the words another datagram's: as one never seen.
    return restSeconds > 0 && this.#map.generation(slot) === generation
  }

  #setKey(words: Int32Array, start: number, identification: number): void {
    const key = this.#key
    key[KEY.SOURCE] = words[start + SOURCE4] as number
    key[KEY.DESTINATION] = words[start + DESTINATION4] as number
    const protocol = (words[start + TupleWord.PROTOCOL] as number) & 0xff
    key[KEY.DATAGRAM] = (identification << 8) | protocol
  }
}
