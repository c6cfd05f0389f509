/**
 * A process that holds the engine with so many connections and tells what memory that takes: its
 * resident set before and after, and the sizes of the maps. Argument: connections.
 */
import { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import { sizesFor } from '../lib/node-scenario.js'
import { ChainRig } from './chain-rig.js'

export interface MemoryReport {
  /** Resident bytes with an engine for no more than one connection, trained like the other. */
  readonly residentBefore: number
  readonly residentAfter: number
  /** Bytes of each map at the sizes for that many connections. */
  readonly maps: Readonly<Record<string, number>>
}

const TRAINING_FRAMES = 200_000

function mapBytes(connections: number): Record<string, number> {
  const bytes: Record<string, number> = {}
  new DatapathMaps((name, size) => {
    bytes[name] = size
    return new SharedArrayBuffer(size)
  }, sizesFor(connections))
  return bytes
}

const connections = Number(process.argv[2])
// The code, and what an engine takes by itself; kept, so that its memory is not taken for free.
const small = new ChainRig('full', 1)
small.run(TRAINING_FRAMES)
globalThis.gc?.()
const residentBefore = process.memoryUsage.rss()
const rig = new ChainRig('full', connections)
// Each flow more than once, so that the lane knows it as well.
rig.run(4 * connections)
globalThis.gc?.()
const residentAfter = process.memoryUsage.rss()
const tracked = rig.maps.conntrackTable.size
if (tracked < connections) throw new Error(`${tracked} entries for ${connections} connections`)
const report: MemoryReport = { residentBefore, residentAfter, maps: mapBytes(connections) }
small.run(1)
console.log(JSON.stringify(report))
