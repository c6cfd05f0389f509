/**
 * The ports that the node's own sockets use, one bit each: allocation leaves them alone, so that a
 * pod never takes a reply that the node waits for. Filled by `HostPortScanner`, about once a second.
 */
import type { ArrayMap } from '../maps/array-map.js'
import type { MapSpec } from '../maps/map.js'
import { NAT_ROWS, PORTS_PER_ROW } from './nat-protocol.js'

const ROW_WORDS = PORTS_PER_ROW / 32

export const HOST_PORTS_SPEC: MapSpec = {
  name: 'host_ports',
  type: 'array',
  keyWords: 0,
  valueWords: 1,
  maxEntries: NAT_ROWS * ROW_WORDS,
}

/** Words of a set of all ports of all rows, to be handed to `replace`. */
export const HOST_PORTS_WORDS = NAT_ROWS * ROW_WORDS

export class HostPorts {
  readonly #words: Int32Array
  readonly #start: number

  constructor(map: ArrayMap) {
    this.#words = map.words
    this.#start = map.valueStart(0)
  }

  has(row: number, port: number): boolean {
    const word = this.#words[this.#start + row * ROW_WORDS + (port >>> 5)] as number
    return ((word >>> (port & 31)) & 1) !== 0
  }

  /** Scanner: stores the whole set, word by word. */
  replace(set: Int32Array): void {
    for (let i = 0; i < HOST_PORTS_WORDS; i++) this.#words[this.#start + i] = set[i] as number
  }
}

/** Adds a port to a set of HOST_PORTS_WORDS words. */
export function addHostPort(set: Int32Array, row: number, port: number): void {
  const at = row * ROW_WORDS + (port >>> 5)
  set[at] = (set[at] as number) | (1 << (port & 31))
}
