/**
 * Session affinity: which backend a client was sent to last (Cilium: lb4_affinity,
 * lb_affinity_match). A memory counts for as long as the service says after its last use, and only
 * while the backend is one of the service that new connections may go to.
 */
import type { HashMap } from '../maps/hash-map.js'
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { NOT_FOUND, UpdateFlag } from '../maps/map.js'
import {
  AFFINITY_KEY_WORDS,
  AFFINITY_MATCH_KEY_WORDS,
  AFFINITY_VALUE_WORDS,
  AffinityWord,
  NO_BACKEND,
} from './service-layout.js'

export class Affinity {
  readonly #clients: LruHashMap
  readonly #matches: HashMap
  readonly #key = new Int32Array(AFFINITY_KEY_WORDS)
  readonly #value = new Int32Array(AFFINITY_VALUE_WORDS)
  readonly #match = new Int32Array(AFFINITY_MATCH_KEY_WORDS)
  /** Written for the packet at hand, and what was there before: NO_BACKEND for nothing. */
  #written = NOT_FOUND
  #writtenGeneration = 0
  #backendBefore = NO_BACKEND
  #lastUsedBefore = 0
  /** What the last `recall` found, whether it counts or not. */
  #found = NOT_FOUND
  #foundGeneration = 0
  #foundBackend = NO_BACKEND

  constructor(clients: LruHashMap, matches: HashMap) {
    this.#clients = clients
    this.#matches = matches
  }

  /** The backend of the client whose address lies at `start`, or NO_BACKEND. */
  recall(
    words: Int32Array,
    start: number,
    revNatIndex: number,
    timeoutSeconds: number,
    nowSeconds: number,
  ): number {
    const slot = this.#find(words, start, revNatIndex)
    this.#found = slot
    if (slot === NOT_FOUND) return NO_BACKEND
    this.#foundGeneration = this.#clients.foundGeneration
    const value = this.#clients.valueStart(slot)
    const backend = this.#clients.words[value + AffinityWord.BACKEND_ID] as number
    this.#foundBackend = backend
    const idle = (nowSeconds - (this.#clients.words[value + AffinityWord.LAST_USED] as number)) | 0
    if (idle < 0 || idle >= timeoutSeconds) return NO_BACKEND
    // Another client's by now.
    if (this.#clients.generation(slot) !== this.#foundGeneration) return NO_BACKEND
    this.#match[0] = backend
    this.#match[1] = revNatIndex
    return this.#matches.lookup(this.#match) === NOT_FOUND ? NO_BACKEND : backend
  }

  /**
   * Remembers a new choice for the client that `recall` knew no backend of, unless another worker has
   * just made one for another connection of it: that one counts. Returns whichever does.
   */
  claim(
    words: Int32Array,
    start: number,
    revNatIndex: number,
    backend: number,
    nowSeconds: number,
  ): number {
    if (this.#found !== NOT_FOUND) return this.#replace(backend, nowSeconds)
    const clients = this.#clients
    this.#writeKey(words, start, revNatIndex)
    this.#value[AffinityWord.LAST_USED] = nowSeconds
    this.#value[AffinityWord.BACKEND_ID] = backend
    const made = clients.update(this.#key, this.#value, UpdateFlag.NO_EXIST)
    if (made >= 0) {
      this.#noteMade(made)
      return backend
    }
    const slot = clients.lookup(this.#key)
    if (slot === NOT_FOUND) return backend
    const generation = clients.foundGeneration
    const theirs = clients.words[clients.valueStart(slot) + AffinityWord.BACKEND_ID] as number
    return clients.generation(slot) === generation ? theirs : backend
  }

  /** The same in the place of what was found and does not count any more. */
  #replace(backend: number, nowSeconds: number): number {
    const clients = this.#clients
    const { words } = clients
    const slot = this.#found
    const before = this.#foundBackend
    const value = clients.valueStart(slot)
    // Evicted meanwhile: nothing is remembered, until `remember` does.
    if (clients.generation(slot) !== this.#foundGeneration) return backend
    const lastUsed = words[value + AffinityWord.LAST_USED] as number
    const now = Atomics.compareExchange(words, value + AffinityWord.BACKEND_ID, before, backend)
    if (now !== before) return now
    words[value + AffinityWord.LAST_USED] = nowSeconds
    this.#noteChanged(slot, this.#foundGeneration, before, lastUsed)
    return backend
  }

  /** Each packet of a client is a use. */
  remember(
    words: Int32Array,
    start: number,
    revNatIndex: number,
    backend: number,
    nowSeconds: number,
  ): void {
    const slot = this.#find(words, start, revNatIndex)
    if (slot === NOT_FOUND) {
      this.#value[AffinityWord.LAST_USED] = nowSeconds
      this.#value[AffinityWord.BACKEND_ID] = backend
      this.#noteMade(this.#clients.update(this.#key, this.#value, UpdateFlag.ANY))
      return
    }
    const table = this.#clients.words
    const value = this.#clients.valueStart(slot)
    const { foundGeneration } = this.#clients
    // Of one that this packet made nothing was there before.
    if (slot !== this.#written || foundGeneration !== this.#writtenGeneration) {
      const before = table[value + AffinityWord.BACKEND_ID] as number
      const lastUsed = table[value + AffinityWord.LAST_USED] as number
      this.#noteChanged(slot, foundGeneration, before, lastUsed)
    }
    table[value + AffinityWord.LAST_USED] = nowSeconds
    table[value + AffinityWord.BACKEND_ID] = backend
  }

  /** Call it before each packet: what is remembered from now on is this packet's. */
  beginPacket(): void {
    this.#written = NOT_FOUND
  }

  /** The packet is dropped: its client is remembered as before. */
  undo(): void {
    const slot = this.#written
    if (slot < 0) return
    this.#written = NOT_FOUND
    if (this.#backendBefore === NO_BACKEND) {
      this.#clients.deleteSlot(slot, this.#writtenGeneration)
      return
    }
    if (this.#clients.generation(slot) !== this.#writtenGeneration) return
    const value = this.#clients.valueStart(slot)
    this.#clients.words[value + AffinityWord.LAST_USED] = this.#lastUsedBefore
    this.#clients.words[value + AffinityWord.BACKEND_ID] = this.#backendBefore
  }

  #noteMade(slot: number): void {
    this.#noteChanged(slot, this.#clients.writtenGeneration, NO_BACKEND, 0)
  }

  /** For `undo`: what was in the slot before this packet. */
  #noteChanged(slot: number, generation: number, backend: number, lastUsed: number): void {
    this.#written = slot
    this.#writtenGeneration = generation
    this.#backendBefore = backend
    this.#lastUsedBefore = lastUsed
  }

  #find(words: Int32Array, start: number, revNatIndex: number): number {
    this.#writeKey(words, start, revNatIndex)
    return this.#clients.lookup(this.#key)
  }

  #writeKey(words: Int32Array, start: number, revNatIndex: number): void {
    const key = this.#key
    for (let i = 0; i < 4; i++) key[i] = words[start + i] as number
    key[4] = revNatIndex
  }
}
