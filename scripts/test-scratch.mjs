/**
 * A directory for the temporary files of one test run, handed to the tests as TMPDIR: whatever a
 * test that was killed left in it goes with it. When the run itself is killed, the next one removes
 * the directory.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PREFIX = 'ringpath-test-'
const RUNNER = 'test.mjs'

export function openScratch() {
  sweep()
  const path = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`))
  // As the system's own: some tests act as users who are not root.
  chmodSync(path, 0o1777)
  return path
}

/** With the file systems that tests mounted in it. */
export function closeScratch(path) {
  for (const mount of mountsUnder(path)) execFileSync('umount', ['--lazy', mount])
  rmSync(path, { recursive: true, force: true })
}

/** Those of runs that are no more; somebody else's, which we may not remove, are let alone. */
function sweep() {
  for (const name of readdirSync(tmpdir())) {
    const [, pid] = new RegExp(`^${PREFIX}(\\d+)-`).exec(name) ?? []
    if (pid === undefined || isRunner(pid)) continue
    try {
      closeScratch(join(tmpdir(), name))
    } catch (error) {
      console.error(`runner: ${name} of an earlier run stays: ${error.message}`)
    }
  }
}

function isRunner(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(RUNNER)
  } catch {
    return false
  }
}

/** The last mounted first, as one may lie in another. */
function mountsUnder(path) {
  let text = ''
  try {
    text = readFileSync('/proc/self/mountinfo', 'utf8')
  } catch {
    // Not Linux: the tests mount nothing there.
  }
  const mounts = text.split('\n').map((line) => line.split(' ')[4] ?? '')
  return mounts.filter((mount) => mount.startsWith(`${path}/`)).reverse()
}
