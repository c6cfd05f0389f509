/**
 * A file of documents as text: of a bounded size, UTF-8 with or without a byte order mark, and what
 * is wrong with it in a sentence.
 */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { ErrorCode, RingpathError } from '../base/errors.js'

const FILE_BYTES_MAX = 4 * 1024 * 1024

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file, or a link to one that is not there',
  EACCES: 'not permitted to read it',
  EISDIR: 'a directory, expected a file',
  ENOTDIR: 'part of its path is no directory',
  ELOOP: 'its links lead in a circle',
}

/** Why a file or directory could not be read, in words. */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  return REASONS[code] ?? (error as Error).message
}

/** @throws RingpathError CONFIG_INVALID; the message does not name the file */
export function readTextFile(path: string | number): string {
  let bytes: Buffer
  try {
    bytes = readBounded(path)
  } catch (error) {
    if (error instanceof RingpathError) throw error
    throw new RingpathError(ErrorCode.CONFIG_INVALID, reasonOf(error), error)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    const text = 'not text in UTF-8, expected YAML or JSON'
    throw new RingpathError(ErrorCode.CONFIG_INVALID, text, error)
  }
}

function readBounded(path: string | number): Buffer {
  if (typeof path === 'number') return readFileSync(path)
  // A pipe without a writer must not stop us: it is no regular file, and refused.
  const file = openSync(path, 'r')
  try {
    const status = fstatSync(file)
    if (status.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' })
    if (status.size > FILE_BYTES_MAX) {
      const text = `${status.size} bytes, expected at most ${FILE_BYTES_MAX}`
      throw new RingpathError(ErrorCode.CONFIG_INVALID, text)
    }
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}
