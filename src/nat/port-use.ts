/**
 * Which ports of the node's NAT are in use, and by how many mappings: one port serves as many
 * destinations as there are. The counts lie in a map of their own, `nat_port_use`, for whoever asks;
 * from them the steering programs of the uplinks are told, by one byte per port, which frames are
 * replies to a mapping (bpf/xdp_redirect.c, `nat_ports`).
 *
 * One writer: the worker that translates. It counts anew when it starts (`reset`).
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

export class PortUse {
  readonly #words: Int32Array
  readonly #start: number
  readonly #marks: Uint8Array[] = []

  constructor(map: ArrayMap) {
    this.#words = map.words
    this.#start = map.valueStart(0)
  }

  /** Keeps the bytes of a steering program in step from now on: 1 where a port is in use. */
  attach(marks: Uint8Array): void {
    for (let i = 0; i < marks.length; i++) {
      marks[i] = i < NAT_ROWS * PORTS_PER_ROW && this.#words[this.#start + i] !== 0 ? 1 : 0
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
    const count = (this.#words[this.#start + at] as number) + 1
    this.#words[this.#start + at] = count
    if (count === 1) this.#mark(at, 1)
  }

  release(row: number, port: number): void {
    const at = row * PORTS_PER_ROW + port
    const count = (this.#words[this.#start + at] as number) - 1
    if (count < 0) return
    this.#words[this.#start + at] = count
    if (count === 0) this.#mark(at, 0)
  }

  reset(): void {
    this.#words.fill(0, this.#start, this.#start + NAT_ROWS * PORTS_PER_ROW)
    for (const marks of this.#marks) marks.fill(0)
  }

  #mark(at: number, value: number): void {
    const all = this.#marks
    for (let i = 0; i < all.length; i++) {
      const marks = all[i] as Uint8Array
      // A program without a row for the protocol has fewer bytes.
      if (at < marks.length) marks[at] = value
    }
  }
}
