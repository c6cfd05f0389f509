/**
 * Which ports of the node's NAT are in use, and by how many mappings: one port serves as many
 * destinations as there are. The counts lie in a map of their own, `nat_port_use`, for whoever asks;
 * from them the steering programs of the uplinks are told, by one byte per port, which frames are
 * replies to a mapping (bpf/xdp_redirect.c, `nat_ports`).
 *
 * Any number of workers take and release at once; a mark follows its count, whoever is the last to
 * change it. The first worker counts anew when it starts (`reset`), before the others.
 */
import type { ArrayMap } from '../maps/array-map.js'
import type { MapSpec } from '../maps/map.js'
import { NAT_ROWS, PORTS_PER_ROW } from './nat-protocol.js'

export const NAT_PORT_USE_SPEC: MapSpec = {
  name: 'nat_port_use',
  type: 'array',
  keyWords: 0,
  valueWords: 1,
  maxEntries: NAT_ROWS * PORTS_PER_ROW,
}

/** Changes of one count, one right after the other, that a mark follows. */
const FOLLOWS_MAX = 1_000

export class PortUse {
  readonly #words: Int32Array
  readonly #start: number
  readonly #marks: Uint8Array[] = []

  constructor(map: ArrayMap) {
    this.#words = map.words
    this.#start = map.valueStart(0)
  }

  /**
   * Keeps the bytes of a steering program in step from now on: 1 where a port is in use. Other workers
   * may have attached the same bytes.
   */
  attach(marks: Uint8Array): void {
    const end = Math.min(marks.length, NAT_ROWS * PORTS_PER_ROW)
    for (let at = 0; at < end; at++) {
      const isInUse = (this.#words[this.#start + at] as number) > 0
      if (isInUse !== (marks[at] === 1)) this.#follow(marks, at)
    }
    this.#marks.push(marks)
  }

  /** Before the program goes and its memory with it. */
  detach(marks: Uint8Array): void {
    const index = this.#marks.indexOf(marks)
    if (index >= 0) this.#marks.splice(index, 1)
  }

  /** Mappings that use the port, toward any destination. */
  count(row: number, port: number): number {
    return this.#words[this.#start + row * PORTS_PER_ROW + port] as number
  }

  take(row: number, port: number): void {
    const at = row * PORTS_PER_ROW + port
    // Below zero for a moment, when another worker has removed a mapping before it was counted.
    if (Atomics.add(this.#words, this.#start + at, 1) === 0) this.#mark(at)
  }

  release(row: number, port: number): void {
    const at = row * PORTS_PER_ROW + port
    if (Atomics.sub(this.#words, this.#start + at, 1) === 1) this.#mark(at)
  }

  reset(): void {
    this.#words.fill(0, this.#start, this.#start + NAT_ROWS * PORTS_PER_ROW)
    for (const marks of this.#marks) marks.fill(0)
  }

  #mark(at: number): void {
    const all = this.#marks
    for (let i = 0; i < all.length; i++) {
      const marks = all[i] as Uint8Array
      // A program without a row for the protocol has fewer bytes.
      if (at < marks.length) this.#follow(marks, at)
    }
  }

  /**
   * Looks again after the store, for another worker may have changed the count in between and have
   * stored its mark first. The store is atomic, so that the processor cannot look before it.
   */
  #follow(marks: Uint8Array, at: number): void {
    const words = this.#words
    const count = this.#start + at
    for (let tries = 0; tries < FOLLOWS_MAX; tries++) {
      const isInUse = (words[count] as number) > 0
      Atomics.store(marks, at, isInUse ? 1 : 0)
      if ((words[count] as number) > 0 === isInUse) return
    }
  }
}
