/**
 * A directory of manifests as the source of documents: read whole whenever something in it changes,
 * once it has been quiet for a moment. Regular files named *.yaml, *.yml or *.json count; hidden
 * ones and sub-directories do not.
 */
import { type FSWatcher, readdirSync, statSync, watch } from 'node:fs'
import { join } from 'node:path'
import { readTextFile, reasonOf } from '../k8s/text-file.js'

const QUIET_MILLISECONDS = 100
/** Where the kernel's notice is missing: another file system, or the directory itself replaced. */
const LOOK_MILLISECONDS = 5_000
const FILES_MAX = 10_000

export interface DirectoryContents {
  readonly files: ReadonlyMap<string, string>
  /** Files that could not be read, and why. */
  readonly unreadable: ReadonlyMap<string, string>
  /** Why the directory itself could not be read. */
  readonly problem?: string
}

export function readManifestDirectory(directory: string): DirectoryContents {
  const files = new Map<string, string>()
  const unreadable = new Map<string, string>()
  let names: string[]
  try {
    names = listed(directory)
  } catch (error) {
    return { files, unreadable, problem: reasonOf(error) }
  }
  for (const name of names) {
    const path = join(directory, name)
    try {
      // Kubernetes mounts files as links: what they point at is what counts.
      files.set(name, readTextFile(path))
    } catch (error) {
      unreadable.set(name, (error as Error).message)
    }
  }
  return { files, unreadable }
}

function listed(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && /^[^.].*\.(ya?ml|json)$/.test(entry.name))
    .map(({ name }) => name)
    .sort()
    .slice(0, FILES_MAX)
}

function namesIn(directory: string): string[] {
  try {
    return listed(directory)
  } catch {
    return []
  }
}

export class ManifestWatcher {
  readonly #directory: string
  readonly #changed: () => void
  readonly #timer: NodeJS.Timeout
  #watcher: FSWatcher | undefined
  #quiet: NodeJS.Timeout | undefined
  #seen = ''

  /** @param changed called after the last of a run of changes */
  constructor(directory: string, changed: () => void) {
    this.#directory = directory
    this.#changed = changed
    this.#seen = stampOf(directory)
    this.#watch()
    this.#timer = setInterval(() => this.#look(), LOOK_MILLISECONDS)
    this.#timer.unref()
  }

  close(): void {
    clearInterval(this.#timer)
    clearTimeout(this.#quiet)
    this.#watcher?.close()
  }

  #watch(): void {
    try {
      this.#watcher = watch(this.#directory, () => this.#soon())
      this.#watcher.on('error', () => this.#unwatch())
    } catch {
      this.#watcher = undefined
    }
  }

  #unwatch(): void {
    this.#watcher?.close()
    this.#watcher = undefined
  }

  #look(): void {
    if (this.#watcher === undefined) this.#watch()
    if (stampOf(this.#directory) !== this.#seen) this.#soon()
  }

  #soon(): void {
    clearTimeout(this.#quiet)
    this.#quiet = setTimeout(() => {
      this.#seen = stampOf(this.#directory)
      this.#changed()
    }, QUIET_MILLISECONDS)
  }
}

/** Changes when a file is written, made or removed, or the directory is another. */
function stampOf(directory: string): string {
  const parts = namesIn(directory).map((name) => {
    try {
      const { mtimeMs, size, ino } = statSync(join(directory, name))
      return `${name} ${mtimeMs} ${size} ${ino}`
    } catch {
      return name
    }
  })
  try {
    parts.push(`${statSync(directory).ino}`)
  } catch {
    parts.push('absent')
  }
  return parts.join('\n')
}
