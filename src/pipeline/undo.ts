/**
 * Nothing is remembered of a packet that goes nowhere: the connections, the NAT mapping
 * and the choice of a backend that it made are taken back, so that refused packets fill no table. Not taken back: counters, what
 * it did to entries that were there (a longer life, a close), and a first fragment's ports.
 */
import type { DatapathState } from './stage.js'

type Remembering = Pick<DatapathState, 'conntrack' | 'loadBalancer' | 'nat'>

export function beginPacket(state: Remembering): void {
  state.conntrack.beginPacket()
  state.loadBalancer.beginPacket()
  state.nat.beginPacket()
}

/** The packet of the last `beginPacket` is dropped. */
export function undoPacket(state: Remembering): void {
  state.conntrack.undo()
  state.loadBalancer.undo()
  state.nat.undo()
}
