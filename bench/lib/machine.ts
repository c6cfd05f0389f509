/** What a figure was measured on; every line of results carries it. */
import { execFileSync } from 'node:child_process'
import { cpus, loadavg, release } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly kernel: string
  readonly node: string
  /** With "+" when the work tree differs from it; "unknown" outside a repository. */
  readonly commit: string
  readonly date: string
  /** Load of the minute before: what else ran. */
  readonly load: number
}

export function thisMachine(): Machine {
  const all = cpus()
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    kernel: release(),
    node: process.version,
    commit: commit(),
    date: new Date().toISOString(),
    load: loadavg()[0] ?? Number.NaN,
  }
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    const measured = ['src', 'native', 'bench', 'bpf', 'generator']
    const changed = git('status', '--porcelain', '--untracked-files=no', ...measured)
    return git('rev-parse', '--short', 'HEAD') + (changed === '' ? '' : '+')
  } catch {
    return 'unknown'
  }
}
