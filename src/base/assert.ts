/** Broken invariants. Bad traffic never comes here: it is a counted drop (docs/architecture.md). */

/** Thrown when the program itself is wrong; the worker that meets it stops. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

/**
 * Stops the worker loudly when `condition` is false. Spend it at boundaries, not in inner loops.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message)
}
