/**
 * Files in which the agent keeps what has to outlive it: JSON, replaced whole. A file that is damaged
 * is never taken for one that is not there, and nothing writes over it.
 */
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { getSystemErrorMap } from 'node:util'
import { type Problem, shown } from '../k8s/problem.js'

/** What fields of a file are; `texts` is a record of strings. */
type FieldKind = 'boolean' | 'string' | 'list' | 'record' | 'texts'

/** Version 1 of a file. */
export type FileFormat = Readonly<Record<string, FieldKind>>

const VERSION = 1

export class DamagedFile extends Error {
  readonly found: string

  constructor(path: string, found: string, cause?: unknown) {
    super(`${path}: ${found}`, { cause })
    this.found = found
  }
}

/** The state in force stays; whoever meets it tells it, and tries again. */
export class NotWritten extends Error {
  /** As of the system call: ENOSPC. */
  readonly code: string
  readonly path: string
  readonly reason: string

  constructor(path: string, cause: unknown) {
    const reason = `not written: ${errnoText(cause)}`
    super(`${path}: ${reason}`, { cause })
    this.code = (cause as NodeJS.ErrnoException).code ?? 'EIO'
    this.path = path
    this.reason = reason
  }

  get problem(): Problem {
    const expected = 'a file system with room, which can be written to; tried again every second'
    return { source: this.path, object: 'file', field: '', found: this.reason, expected }
  }
}

/**
 * Undefined when there is no such file.
 * @throws DamagedFile when there is one that cannot be read, or is none of this format
 */
export function readStateFile<T>(path: string, format: FileFormat): T | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new DamagedFile(path, errnoText(error), error)
  }
  let value: Readonly<Record<string, unknown>>
  try {
    value = JSON.parse(text)
  } catch (error) {
    const found = `${text.length} characters that are no JSON (${(error as Error).message})`
    throw new DamagedFile(path, found, error)
  }
  if (!isRecord(value)) throw new DamagedFile(path, shown(value))
  const { version } = value
  if (version !== VERSION) throw new DamagedFile(path, `version: ${shown(version)}`)
  for (const [field, kind] of Object.entries(format)) {
    if (IS[kind](value[field])) continue
    throw new DamagedFile(path, `${field}: ${shown(value[field])}`)
  }
  return value as T
}

/** A reader sees the old file or the new one; only its owner may read it. */
export function replaceFile(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.new`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(temporary, text, { mode: 0o600, flush: true })
    renameSync(temporary, path)
  } catch (error) {
    quietly(() => rmSync(temporary, { force: true }))
    throw new NotWritten(path, error)
  }
}

/** A damaged file, and where it is now. */
export interface Damage {
  readonly path: string
  readonly found: string
}

export interface Kept<T> {
  readonly value: T | undefined
  /** Of this file, or of an earlier one that nobody has removed yet. */
  readonly damage: Damage | undefined
}

/**
 * For a record without which the agent can go on: a damaged one is put aside as `<path>.damaged`, so
 * that it can be looked at, and is told of until somebody removes it.
 */
export function readKept<T>(path: string, format: FileFormat): Kept<T> {
  const aside = `${path}.damaged`
  try {
    return { value: readStateFile<T>(path, format), damage: damageOf(aside, format) }
  } catch (error) {
    if (!(error instanceof DamagedFile)) throw error
    const { found } = error
    const isAside = quietly(() => renameSync(path, aside))
    return { value: undefined, damage: { path: isAside ? aside : path, found } }
  }
}

function damageOf(aside: string, format: FileFormat): Damage | undefined {
  if (!quietly(() => lstatSync(aside))) return undefined
  try {
    readStateFile(aside, format)
    return { path: aside, found: 'a file that was damaged' }
  } catch (error) {
    return { path: aside, found: error instanceof DamagedFile ? error.found : String(error) }
  }
}

/** "ENOSPC, no space left on device". */
function errnoText(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException
  const [code, text] = getSystemErrorMap().get(errno ?? 0) ?? []
  return code === undefined ? message : `${code}, ${text}`
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const IS: Readonly<Record<FieldKind, (value: unknown) => boolean>> = {
  boolean: (value) => typeof value === 'boolean',
  string: (value) => typeof value === 'string',
  list: Array.isArray,
  record: isRecord,
  texts: (value) => isRecord(value) && Object.values(value).every((v) => typeof v === 'string'),
}

/** True when it could be done. */
function quietly(act: () => void): boolean {
  try {
    act()
    return true
  } catch {
    return false
  }
}
