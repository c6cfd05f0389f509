/** Structured logs: one JSON object a line on standard output, which systemd takes as they are. */
import { type Logger, pino } from 'pino'

export type Log = Logger

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

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
