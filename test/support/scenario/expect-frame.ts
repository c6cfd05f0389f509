/** What a scenario says must leave by a port, held against what did. */
import { parseFrame } from '../packet-parser.js'
import {
  encodeFrame,
  isDescribable,
  type LiteralFrame,
  type LiteralLayer,
  readFrame,
  resolveLayers,
} from './frame.js'
import { fromHex } from './hex.js'
import type { Names } from './names.js'
import { isSctpRight } from './sctp.js'
import type { ExpectedOut, FreeField, Layers } from './types.js'

/** The differences between the frame and what was expected, by layer; empty when there are none. */
export function compareFrame(
  out: ExpectedOut,
  port: string,
  found: Uint8Array,
  names: Names,
  incoming: Uint8Array,
): string[] {
  const free = freeFields(out)
  const wanted = expectedLayers(out, port, names, incoming)
  const differences = out.malformed === true ? [] : problemsOf(found)
  if (wanted instanceof Uint8Array) {
    return Buffer.compare(wanted, found) === 0
      ? differences
      : [...differences, ...layerDifferences(wanted, found)]
  }
  const is = readFrame(found)
  for (const [path, field] of free) {
    const value = fieldAt(is, path)
    if (value === undefined) differences.push(`${path} is not there`)
    else {
      differences.push(...boundsOf(path, value, field, names))
      setFieldAt(wanted, path, value)
      if (field.as !== undefined) names.bindNumber(field.as, Number(value))
    }
  }
  const bytes = encodeFrame(wanted)
  if (Buffer.compare(bytes, found) === 0) return differences
  return [...differences, ...layerDifferences(bytes, found)]
}

/** What a receiver would find wrong with the frame. */
export function problemsOf(frame: Uint8Array): string[] {
  const packet = parseFrame(frame)
  const { ipv4, payload } = packet
  const isWhole = ipv4?.fragmentOffset === 0 && !ipv4.flags.includes('MF')
  const isSctp = ipv4?.protocol === 132 && isWhole && payload.length >= 12
  if (!isSctp || isSctpRight(payload)) return packet.problems
  return [...packet.problems, 'sctp checksum is wrong']
}

/** Bytes where hex was given and nothing is free, otherwise layers. */
function expectedLayers(
  out: ExpectedOut,
  port: string,
  names: Names,
  incoming: Uint8Array,
): LiteralFrame | Uint8Array {
  if (typeof out.frame === 'string') {
    const bytes = fromHex(out.frame)
    if (freeFields(out).size === 0) return bytes
    if (!isDescribable(bytes)) throw new Error('fields are free in a frame that layers cannot tell')
    return readFrame(bytes)
  }
  const link = { from: names.mac(`${port}.node`), to: names.mac(port) }
  if (out.frame !== undefined) {
    const frame = resolveLayers(out.frame, names, incoming)
    return { ...frame, eth: { ...link, ...frame.eth } }
  }
  const base = readFrame(incoming)
  return changedFrame(
    { ...base, eth: { ...base.eth, ...link } },
    out.changed ?? {},
    names,
    incoming,
  )
}

/** The frame with some fields changed; a layer that is null is taken out. */
export function changedFrame(
  base: LiteralFrame,
  changes: Layers,
  names: Names,
  incoming?: Uint8Array,
): LiteralFrame {
  const resolved = resolveLayers(changes, names, incoming) as Record<string, unknown>
  const frame: Record<string, unknown> = { ...base }
  for (const [layer, change] of Object.entries(changes)) {
    if (change === null) delete frame[layer]
    else if (layer === 'vlans' || typeof resolved[layer] !== 'object')
      frame[layer] = resolved[layer]
    else frame[layer] = { ...(frame[layer] as object), ...(resolved[layer] as object) }
  }
  return frame as LiteralFrame
}

function freeFields(out: ExpectedOut): Map<string, FreeField> {
  const { free = {} } = out
  if (Array.isArray(free)) return new Map(free.map((path) => [path as string, {}]))
  return new Map(Object.entries(free as Record<string, FreeField>))
}

function boundsOf(path: string, value: unknown, field: FreeField, names: Names): string[] {
  const { min, max, not } = field
  const number = Number(value)
  const faults: string[] = []
  if (min !== undefined && number < names.number(min)) faults.push(`${path}: ${number} < ${min}`)
  if (max !== undefined && number > names.number(max)) faults.push(`${path}: ${number} > ${max}`)
  if (not !== undefined && number === names.number(not)) {
    faults.push(`${path}: ${number}, must be another`)
  }
  return faults
}

/** "vxlan.frame.ipv4.id". */
function fieldAt(frame: LiteralFrame, path: string): string | number | undefined {
  let at: unknown = frame
  for (const key of path.split('.')) at = (at as Record<string, unknown> | undefined)?.[key]
  return typeof at === 'object' ? undefined : (at as string | number | undefined)
}

function setFieldAt(frame: LiteralFrame, path: string, value: string | number): void {
  const keys = path.split('.')
  const last = keys.pop() ?? ''
  let at = frame as Record<string, unknown>
  for (const key of keys) {
    at[key] = { ...(at[key] as LiteralLayer) }
    at = at[key] as Record<string, unknown>
  }
  at[last] = value
}

function layerDifferences(wanted: Uint8Array, found: Uint8Array): string[] {
  const [a, b] = [flat(readFrame(wanted)), flat(readFrame(found))]
  const lines: string[] = []
  for (const path of new Set([...a.keys(), ...b.keys()])) {
    if (a.get(path) !== b.get(path)) {
      lines.push(`${path} is ${b.get(path) ?? 'not there'}, expected ${a.get(path) ?? 'none'}`)
    }
  }
  if (lines.length > 0) return lines
  const at = wanted.findIndex((byte, i) => byte !== found[i])
  const where = at === -1 ? wanted.length : at
  const lengths = `${found.length} bytes, expected ${wanted.length}`
  return [`${lengths}; byte ${where} is ${found[where]}, expected ${wanted[where]}`]
}

function flat(value: object, prefix = ''): Map<string, unknown> {
  const found = new Map<string, unknown>()
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === 'object') {
      for (const [path, inner] of flat(item, `${prefix}${key}.`)) found.set(path, inner)
    } else found.set(`${prefix}${key}`, item)
  }
  return found
}
