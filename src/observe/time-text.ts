/** Times as people type them, for `--since` and `--until`. */
import { ErrorCode, RingpathError } from '../base/errors.js'

const MILLISECONDS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const SPAN = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g
/** A date, and a time that says its zone or is taken as UTC. */
const DATE = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?(Z|[+-]\d\d:\d\d)?$/
const CLOCK = /^\d\d:\d\d(?::\d\d(?:\.\d+)?)?$/

/**
 * ISO 8601 in UTC, with milliseconds, of "90s", "1h30m" (so long before `now`), "14:05:30" (today, UTC),
 * "2026-11-21", or an RFC 3339 time.
 *
 * @throws RingpathError ECONFIG_INVALID that names the field
 */
export function timeOf(field: string, text: string, now: Date): string {
  const at = milliseconds(text.trim(), now)
  if (Number.isFinite(at) && Math.abs(at) < 8.64e15) return new Date(at).toISOString()
  throw new RingpathError(
    ErrorCode.CONFIG_INVALID,
    `${field}: '${text}', expected a span back from now such as 90s or 1h30m, a time of ` +
      'today (UTC) such as 14:05:30, or a date such as 2026-01-31T14:05:30Z',
  )
}

function milliseconds(text: string, now: Date): number {
  if (SPAN.test(text)) {
    const parts = [...text.matchAll(PART)]
    const span = parts.map(([, count, unit = 's']) => Number(count) * (MILLISECONDS[unit] ?? 0))
    return now.getTime() - span.reduce((sum, part) => sum + part, 0)
  }
  if (CLOCK.test(text)) return Date.parse(`${now.toISOString().slice(0, 10)}T${text}Z`)
  const [, date, time = '00:00:00', zone = 'Z'] = DATE.exec(text) ?? []
  return date === undefined ? Number.NaN : Date.parse(`${date}T${time}${zone}`)
}
