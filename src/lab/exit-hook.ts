/**
 * Runs clean-up whichever way this process ends, short of kill -9 (the janitor's case): normal end,
 * `process.exit`, an uncaught exception, SIGINT, SIGTERM or SIGHUP.
 */
import '../base/sure-exit.js'

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const
const SIGNAL_CODE_BASE = 128

const hooks = new Set<() => void>()
let signalUsers = 0

/**
 * @param cleanUp synchronous, called at most once by this module
 * @param handleSignals end the process on SIGINT, SIGTERM and SIGHUP; a program with handlers of
 *   its own says false
 * @returns takes the hook away again
 */
export function onExit(cleanUp: () => void, handleSignals: boolean): () => void {
  if (hooks.size === 0) process.on('exit', runHooks)
  hooks.add(cleanUp)
  if (handleSignals && signalUsers++ === 0) {
    for (const signal of Object.keys(SIGNALS)) process.on(signal, endBySignal)
  }
  return () => {
    if (!hooks.delete(cleanUp)) return
    if (hooks.size === 0) process.off('exit', runHooks)
    if (handleSignals && --signalUsers === 0) {
      for (const signal of Object.keys(SIGNALS)) process.off(signal, endBySignal)
    }
  }
}

function endBySignal(signal: keyof typeof SIGNALS): void {
  process.exit(SIGNAL_CODE_BASE + SIGNALS[signal])
}

function runHooks(): void {
  for (const cleanUp of hooks) {
    try {
      cleanUp()
    } catch (error) {
      // The other hooks must run too; the process ends either way.
      process.stderr.write(`lab: ${(error as Error).message}\n`)
    }
  }
}
