/** What a figure was measured on; every line of results carries it. */
import { execFileSync } from 'node:child_process'
import { cpus, release } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly kernel: string
  readonly node: string
  /** With "+" when the work tree differs from it; "unknown" outside a repository. */
  readonly commit: string
  readonly date: string
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
  }
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    const changed = git('status', '--porcelain', '--untracked-files=no', 'src', 'native', 'bench')
    return git('rev-parse', '--short', 'HEAD') + (changed === '' ? '' : '+')
  } catch {
    return 'unknown'
  }
}
