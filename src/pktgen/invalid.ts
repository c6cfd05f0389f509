/** The error for an option that cannot be: names it, what was found and what was expected. */
import { ErrorCode, RingpathError } from '../base/errors.js'

export function invalid(option: string, found: unknown, expected: string): RingpathError {
  const message = `${option}: ${JSON.stringify(found)}, expected ${expected}`
  return new RingpathError(ErrorCode.CONFIG_INVALID, message)
}
