/**
 * A process that holds the engine with so many connections and tells what memory that takes: its
 * resident set before and after, and the sizes of the maps. Argument: connections.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import { sizesFor } from '../lib/node-scenario.js'
import { ChainRig } from './chain-rig.js'

export interface MemoryReport {
  /** Resident bytes with an engine for no more than one connection, trained like the other. */
  readonly residentBefore: number
  readonly residentAfter: number
  /** Bytes of each map at the sizes for that many connections, as far as it is in use. */
  readonly maps: Readonly<Record<string, number>>
}

/** Of stat(2). */
const BLOCK_BYTES = 512
const TRAINING_FRAMES = 200_000

/** In files, as the engine's, and where it has them: on tmpfs, if there is one. */
const SHARED_MEMORY = '/dev/shm'
const parent = existsSync(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir()
const directory = mkdtempSync(join(parent, 'ringpath-bench-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))

function rigOf(flows: number): ChainRig {
  const maps = DatapathMaps.createFiles(join(directory, String(flows)), sizesFor(flows, false))
  return new ChainRig('full', flows, { maps })
}

/** Pages of each map that are there. */
function mapBytes(flows: number): Record<string, number> {
  const maps = join(directory, String(flows))
  return Object.fromEntries(
    readdirSync(maps).map((name) => [name, statSync(join(maps, name)).blocks * BLOCK_BYTES]),
  )
}

const connections = Number(process.argv[2])
// The code, and what an engine takes by itself; kept, so that its memory is not taken for free.
const small = rigOf(1)
small.run(TRAINING_FRAMES)
globalThis.gc?.()
const residentBefore = process.memoryUsage.rss()
const rig = rigOf(connections)
rig.prime()
globalThis.gc?.()
const residentAfter = process.memoryUsage.rss()
const report: MemoryReport = { residentBefore, residentAfter, maps: mapBytes(connections) }
small.run(1)
console.log(JSON.stringify(report))
