/**
 * Packets and bytes of connections: counted by each lookup, or added later for packets that a
 * shorter way carried without one (src/pipeline/flow-lane.ts).
 */
import { Ct } from './ct-entry.js'

/** Connections that one packet may belong to: of its service, of the pods at either end, and of the node. */
export const VISITED_MAX = 4
export const NOBODY = -1

export class VisitedEntries {
  /** Slot and state word of each entry. */
  readonly words = new Int32Array(2 * VISITED_MAX)
  count = 0
  /** One of them was made by this packet: the flow's next one finds it, and may be judged otherwise. */
  hasNew = false
  /** One of them is closed on both sides (a service's, by its client), and may end while packets of it come. */
  hasClosed = false
  /**
   * The packet's connection took over the entry of a flow with the same addresses and ports behind the
   * translation: reverse NAT index of the service which the other went through, 0 for none; else NOBODY.
   */
  displaced: number = NOBODY

  clear(): void {
    this.count = 0
    this.hasNew = false
    this.hasClosed = false
    this.displaced = NOBODY
  }

  /** @param at index in `table` of the entry's state word, which tells one life of a slot from the next */
  add(table: Int32Array, at: number, slot: number): void {
    if (this.count === VISITED_MAX) return
    this.words[2 * this.count] = slot
    this.words[2 * this.count + 1] = table[at] as number
    this.count++
  }
}

/** @param entry index in `table` of a connection's value; its packets wrap at 2^32, its bytes at 2^64 */
export function countTraffic(
  table: Int32Array,
  entry: number,
  packets: number,
  bytes: number,
): void {
  table[entry + Ct.PACKETS] = ((table[entry + Ct.PACKETS] as number) + packets) | 0
  const low = table[entry + Ct.BYTES_LOW] as number
  const sum = (low + bytes) | 0
  table[entry + Ct.BYTES_LOW] = sum
  if (sum >>> 0 < low >>> 0) {
    table[entry + Ct.BYTES_HIGH] = ((table[entry + Ct.BYTES_HIGH] as number) + 1) | 0
  }
}

/** The same where other workers count the connection's packets too. */
export function countTrafficShared(
  table: Int32Array,
  entry: number,
  packets: number,
  bytes: number,
): void {
  Atomics.add(table, entry + Ct.PACKETS, packets)
  const low = Atomics.add(table, entry + Ct.BYTES_LOW, bytes)
  const sum = (low + bytes) | 0
  if (sum >>> 0 < low >>> 0) Atomics.add(table, entry + Ct.BYTES_HIGH, 1)
}
