/** Counters of a port as cells of a counter map. */
import type { PortStatistics } from './port.js'

export const PORT_STATISTICS_CELLS = 6

export function writePortStatistics(row: Float64Array, at: number, from: PortStatistics): void {
  row[at] = from.receivedFrames
  row[at + 1] = from.receivedBytes
  row[at + 2] = from.sentFrames
  row[at + 3] = from.sentBytes
  row[at + 4] = from.sendDropped
  row[at + 5] = from.receiveDropped
}

/** @param sum the value of one cell, added up over the workers */
export function readPortStatistics(sum: (cell: number) => number, port: number): PortStatistics {
  const at = port * PORT_STATISTICS_CELLS
  return {
    receivedFrames: sum(at),
    receivedBytes: sum(at + 1),
    sentFrames: sum(at + 2),
    sentBytes: sum(at + 3),
    sendDropped: sum(at + 4),
    receiveDropped: sum(at + 5),
  }
}
