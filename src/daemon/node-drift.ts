/**
 * What the Node document says and what does not hold: it is read when the agent starts, and a datapath
 * that is adopted has the options that it was started with. Each field of which that is so is a
 * problem that names the remedy; nothing is passed over.
 */
import { readFileSync, statSync } from 'node:fs'
import { readDocuments } from '../k8s/documents.js'
import { fieldText, type Problem, shown } from '../k8s/problem.js'
import type { NodeDocument } from '../k8s/ringpath-documents.js'
import { readTextFile } from '../k8s/text-file.js'
import type { DatapathSettings } from './datapath-supervisor.js'

const RESTART = 'with which the agent runs: restart it (systemctl restart ringpath-agent)'
const UPGRADE = 'with which the datapath runs: "ringpath upgrade" puts another in its place'
const NOT_THERE = 'nothing'

/** Looks at the file that the agent was started with. */
export class NodeFile {
  readonly #path: string
  readonly #running: NodeDocument
  #stamp: string
  problems: readonly Problem[] = []

  constructor(path: string, running: NodeDocument) {
    this.#path = path
    this.#running = running
    this.#stamp = ''
    this.look()
  }

  /** True when there is something else to say than before. */
  look(): boolean {
    const stamp = stampOf(this.#path)
    if (stamp === this.#stamp) return false
    this.#stamp = stamp
    const before = JSON.stringify(this.problems)
    this.problems = changesOf(this.#path, this.#running)
    return JSON.stringify(this.problems) !== before
  }
}

function stampOf(path: string): string {
  try {
    const { ino, size, mtimeNs } = statSync(path, { bigint: true })
    return `${ino} ${size} ${mtimeNs}`
  } catch {
    return NOT_THERE
  }
}

/** A file that is away for a moment, as while an editor replaces it, says nothing else. */
function changesOf(path: string, running: NodeDocument): Problem[] {
  const object = `Node ${running.metadata.name}`
  let text: string
  try {
    text = readTextFile(path)
  } catch (error) {
    const found = (error as Error).message
    return [{ source: path, object, field: '', found, expected: 'a file that can be read' }]
  }
  const { documents, problems } = readDocuments(text, path)
  if (problems.length > 0) return [...problems]
  const [first, ...more] = documents
  if (first?.body.kind !== 'Node' || more.length > 0) {
    const found = `${documents.length} documents`
    return [{ source: path, object, field: '', found, expected: 'one of kind Node' }]
  }
  return differences(first.body, running, []).map(
    ({ field, wanted, present }): Problem => ({
      source: path,
      object,
      field,
      found: shown(wanted),
      expected: `${shown(present)}, ${RESTART}`,
    }),
  )
}

interface Difference {
  readonly field: string
  readonly wanted: unknown
  readonly present: unknown
}

/** Lists are compared as a whole: an entry has no name of its own. */
function differences(wanted: unknown, present: unknown, path: readonly string[]): Difference[] {
  if (isRecord(wanted) && isRecord(present)) {
    const names = new Set([...Object.keys(wanted), ...Object.keys(present)])
    return [...names].flatMap((name) => differences(wanted[name], present[name], [...path, name]))
  }
  if (JSON.stringify(wanted) === JSON.stringify(present)) return []
  return [{ field: fieldText(path), wanted, present }]
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Options of a datapath's command line, and the fields that they come from. */
const OPTIONS: readonly (readonly [option: string, field: string])[] = [
  ['--workers', 'workers'],
  ['--cores', 'cores'],
  ['--idle', 'idle'],
  ['--frames', 'frames'],
  ['--busy-poll', 'busyPollMicroseconds'],
  ['--wake-latency', 'wakeLatencyMicroseconds'],
  ['--pin', 'pinDirectory'],
]

/** What `ringpath datapath` is started with. */
export function datapathOptions(settings: DatapathSettings): string[] {
  const { workers, cores, idle, frames, training, pinDirectory } = settings
  const { busyPollMicroseconds, wakeLatencyMicroseconds: wakeLatency } = settings
  const options = ['--workers', `${workers}`, '--idle', idle, '--frames', `${frames}`]
  options.push('--busy-poll', `${busyPollMicroseconds}`)
  if (cores !== undefined) options.push('--cores', cores.join(','))
  if (wakeLatency !== undefined) options.push('--wake-latency', `${wakeLatency}`)
  // No drift: it makes no difference to a datapath that runs.
  if (!training) options.push('--no-training')
  return pinDirectory === undefined ? options : [...options, '--pin', pinDirectory]
}

/** Fields that a process was started with other values of than a new one would be. */
export function datapathDrift(
  pid: number,
  settings: DatapathSettings,
  nodeName: string,
): readonly Problem[] {
  const running = commandLineOf(pid)
  if (running === undefined) return []
  const wanted = datapathOptions(settings)
  return OPTIONS.flatMap(([option, field]): Problem[] => {
    const value = optionOf(running, option)
    const asked = optionOf(wanted, option)
    if (value === asked) return []
    const expected = `${value}, ${UPGRADE}`
    const source = `process ${pid}`
    const object = `Node ${nodeName}`
    return [{ source, object, field: `spec.datapath.${field}`, found: asked, expected }]
  })
}

function optionOf(command: readonly string[], option: string): string {
  const at = command.indexOf(option)
  return at < 0 ? NOT_THERE : (command[at + 1] ?? NOT_THERE)
}

/** Undefined when it does not run any more. */
function commandLineOf(pid: number): readonly string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return undefined
  }
}
