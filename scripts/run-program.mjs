/**
 * Runs one test program and gathers its output; on time-out or when the run is interrupted it and
 * its children are ended. When the runner itself is killed the program is asked to end, too.
 */
import { spawn, spawnSync } from 'node:child_process'

/** Between asking a program to clean up and end, and killing it. */
const GRACE_MS = 5_000

const running = new Set()

/** setpriv(1) asks the kernel for a signal at its parent's death, and becomes the program. */
const WITH_PARENT = ['--pdeathsig', 'SIGTERM', '--']
const canEndWithParent = spawnSync('setpriv', [...WITH_PARENT, 'true']).status === 0

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{timeoutSeconds: number, env?: Record<string, string>}} options
 * @returns {Promise<{output: string, code: number, seconds: number}>} both outputs in the order
 *   they came
 */
export function runProgram(command, args, { timeoutSeconds, env = {} }) {
  return new Promise((resolve) => {
    const startMs = performance.now()
    const words = canEndWithParent
      ? ['setpriv', ...WITH_PARENT, command, ...args]
      : [command, ...args]
    const child = spawn(words[0], words.slice(1), {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    running.add(child)
    let output = ''
    const timer = setTimeout(() => {
      output += `\nrunner: no end within ${timeoutSeconds} s\n`
      end(child)
    }, timeoutSeconds * 1000)
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => {
        output += chunk
      })
    }
    const finish = (code) => {
      clearTimeout(timer)
      running.delete(child)
      resolve({ output, code, seconds: (performance.now() - startMs) / 1000 })
    }
    child.on('error', (error) => {
      output += `${error.message}\n`
      finish(127)
    })
    child.on('close', (code) => finish(code ?? 1))
  })
}

/**
 * Ends what is running, as an interrupted run must leave nothing behind; resolves when all have
 * ended.
 */
export async function endAll() {
  const children = [...running]
  const ends = children.map((child) => new Promise((resolve) => child.on('close', resolve)))
  for (const child of children) end(child)
  await Promise.all(ends)
}

function end(child) {
  signal(child, 'SIGTERM')
  setTimeout(() => signal(child, 'SIGKILL'), GRACE_MS).unref()
}

/** To the whole group: a test's helpers must not outlive it. */
function signal(child, name) {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, name)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}
