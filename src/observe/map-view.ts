/** The map files of a state directory, with nothing but their headers to go by. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SharedMemory } from 'xdp-socket-napi'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { ArrayMap } from '../maps/array-map.js'
import { HashMap } from '../maps/hash-map.js'
import { LpmMap } from '../maps/lpm-map.js'
import { LruHashMap } from '../maps/lru-hash-map.js'
import type { MapSpec } from '../maps/map.js'
import { Header, specIn } from '../maps/map-header.js'
import type { Page, PageRequest } from './table-view.js'

export interface MapRowView {
  readonly name: string
  readonly type: string
  readonly keyWords: number
  readonly valueWords: number
  readonly entries: number
  readonly capacity: number
  /** Share of the capacity in use, 0 to 1. */
  readonly pressure: number
  readonly evictions: number
  /** Entries not written because the map was full; modulo 2^32. */
  readonly refused: number
  /** Expired entries that sweeps deleted; modulo 2^32. */
  readonly collected: number
  readonly locksStolen: number
  readonly bytes: number
}

const SIZED = new Set(['hash', 'lru-hash', 'lpm'])

export function mapRows(directory: string): MapRowView[] {
  const rows: MapRowView[] = []
  for (const name of readdirSync(directory).sort()) {
    const path = join(directory, name)
    if (!statSync(path).isFile()) continue
    const opened = openFile(path)
    if (opened === undefined) continue
    const { spec, buffer, close } = opened
    const words = new Int32Array(buffer, 0, 64)
    const entries = entriesOf(spec, buffer, words)
    rows.push({
      name: spec.name,
      type: spec.type,
      keyWords: spec.keyWords,
      valueWords: spec.valueWords,
      entries,
      capacity: spec.maxEntries,
      pressure: SIZED.has(spec.type) ? entries / spec.maxEntries : 0,
      evictions: (words[Header.EVICTIONS] ?? 0) >>> 0,
      refused: (words[Header.REFUSED] ?? 0) >>> 0,
      collected: (words[Header.COLLECTED] ?? 0) >>> 0,
      locksStolen: words[Header.LOCKS_STOLEN] ?? 0,
      bytes: buffer.byteLength,
    })
    close()
  }
  return rows
}

function entriesOf(spec: MapSpec, buffer: ArrayBufferLike, words: Int32Array): number {
  // Prefixes are counted by the hash that lies inside of theirs.
  if (spec.type === 'lpm') return LpmMap.open(buffer, spec).size
  return SIZED.has(spec.type) ? (words[Header.SIZE] ?? 0) : spec.maxEntries
}

export interface MapEntryView {
  readonly slot: number
  /** Words in hexadecimal. */
  readonly key: string
  readonly value: string
}

/** @throws RingpathError CONFIG_INVALID for a name that is no map of entries there */
export function mapPage(directory: string, name: string, request: PageRequest): Page<MapEntryView> {
  const opened = /^[a-z0-9_]+$/.test(name) ? openFile(join(directory, name)) : undefined
  if (opened === undefined) throw noMap(name)
  try {
    return readPage(opened.spec, opened.buffer, request)
  } finally {
    opened.close()
  }
}

function openFile(path: string) {
  let memory: SharedMemory
  try {
    memory = SharedMemory.open(path, 0)
  } catch {
    return undefined
  }
  try {
    const { buffer } = memory
    return { spec: specIn(buffer), buffer, close: () => memory.close() }
  } catch {
    // A file of another kind: a log, a record.
    memory.close()
    return undefined
  }
}

function readPage(
  spec: MapSpec,
  buffer: ArrayBufferLike,
  { cursor, limit }: PageRequest,
): Page<MapEntryView> {
  const rows: MapEntryView[] = []
  if (spec.type === 'array') {
    const map = ArrayMap.open(buffer, spec)
    const end = Math.min(spec.maxEntries, cursor + limit)
    for (let slot = cursor; slot < end; slot++) {
      const start = map.valueStart(slot)
      rows.push({ slot, key: '', value: hex(map.words, start, spec.valueWords) })
    }
    return end < spec.maxEntries ? { rows, next: end } : { rows }
  }
  const map = openHash(spec, buffer)
  const key = new Int32Array(spec.keyWords + 1)
  const value = new Int32Array(spec.valueWords)
  for (const slot of map.slots()) {
    if (slot < cursor) continue
    if (rows.length === limit) return { rows, next: slot }
    if (!map.read(slot, key, value)) continue
    const keyWords = spec.type === 'lpm' ? spec.keyWords + 1 : spec.keyWords
    rows.push({ slot, key: hex(key, 0, keyWords), value: hex(value, 0, spec.valueWords) })
  }
  return { rows }
}

function openHash(spec: MapSpec, buffer: ArrayBufferLike): HashMap | LruHashMap | LpmMap {
  if (spec.type === 'hash') return HashMap.open(buffer, spec)
  if (spec.type === 'lru-hash') return LruHashMap.open(buffer, spec)
  if (spec.type === 'lpm') return LpmMap.open(buffer, spec)
  throw noMap(`${spec.name} (${spec.type})`)
}

const noMap = (name: string): RingpathError =>
  new RingpathError(
    ErrorCode.CONFIG_INVALID,
    `map: '${name}', expected a hash, lru-hash, lpm or array as \`ringpath map\` lists them`,
  )

function hex(words: Int32Array, start: number, count: number): string {
  const parts: string[] = []
  for (let i = start; i < start + count; i++) {
    parts.push(((words[i] ?? 0) >>> 0).toString(16).padStart(8, '0'))
  }
  return parts.join(' ')
}
