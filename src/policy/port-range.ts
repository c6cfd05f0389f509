/**
 * Port ranges as the prefixes of the policy map: the fewest aligned blocks that cover a range
 * exactly.
 */
import { PREFIX_PORT } from './policy-key.js'

export interface PortPrefix {
  readonly port: number
  /** 8 (every port) to 24 (one port). */
  readonly prefixLength: number
}

/** At most 30 blocks. `first` and `last` are 0 to 65535, inclusive, first <= last. */
export function portPrefixes(first: number, last: number): PortPrefix[] {
  const prefixes: PortPrefix[] = []
  let port = first
  while (port <= last) {
    let bits = port === 0 ? 16 : Math.min(16, 31 - Math.clz32(port & -port))
    while (port + 2 ** bits - 1 > last) bits--
    prefixes.push({ port, prefixLength: PREFIX_PORT - bits })
    port += 2 ** bits
  }
  return prefixes
}
