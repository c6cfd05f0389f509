/** Structured logs: one JSON object a line on standard output, which systemd takes as they are. */
import { type Logger, pino } from 'pino'
import type { LogLevel } from './log-level.js'

export type Log = Logger

/** @param level of the lines to write; may be changed at any time (`log.level = …`) */
export function makeLog(level: LogLevel, fields: Readonly<Record<string, unknown>> = {}): Log {
  const options = {
    level,
    base: fields,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  // Synchronous: the last lines before an end are the ones that are needed.
  return pino(options, pino.destination({ fd: 1, sync: true }))
}
