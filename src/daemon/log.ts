/** Structured logs: one JSON object a line on standard output, which systemd takes as they are. */
import { writeSync } from 'node:fs'
import { type Logger, pino } from 'pino'
import type { LogLevel } from './log-level.js'

const STANDARD_OUTPUT = 1
/** For a reader of a pipe that does not keep up. */
const WAIT_MILLISECONDS = 10
const WAITS_MAX = 100

export type Log = Logger

/** @param level of the lines to write; may be changed at any time (`log.level = …`) */
export function makeLog(level: LogLevel, fields: Readonly<Record<string, unknown>> = {}): Log {
  const options = {
    level,
    base: fields,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  return pino(options, { write: writeLine })
}

/**
 * Synchronous: the last lines before an end are the ones that are needed. A line that cannot be
 * written, as to a file on a full disk, is lost: the node goes on without it.
 */
function writeLine(line: string): void {
  const bytes = Buffer.from(line)
  let waits = 0
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(STANDARD_OUTPUT, bytes, at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || waits++ >= WAITS_MAX) return
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MILLISECONDS)
    }
  }
}
