/** `ringpath bugreport`: what a report of a bug needs, gathered in a directory. It changes nothing. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { VERSION } from '../base/version.js'
import { CommandError, type NodeChoice, stateDirectoryOf } from './client.js'
import { withNode } from './options.js'
import { print } from './output.js'
import { openSource, type Source, withQuery } from './source.js'

const FLOWS = { last: '1000' }
const ROWS = { limit: '10000' }
/** What is asked of the agent, or of the files where none runs. */
const PARTS: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ['status', {}],
  ['config', {}],
  ['objects', {}],
  ['endpoints', {}],
  ['services', {}],
  ['policies', ROWS],
  ['identities', {}],
  ['ipcache', {}],
  ['conntrack', ROWS],
  ['nat', ROWS],
  ['top', {}],
  ['maps', {}],
  ['counters', {}],
  ['drops', FLOWS],
  ['flows', FLOWS],
]
const LINES = new Set(['drops', 'flows'])
/** The machine's own view, of the network namespace that this runs in. */
const COMMANDS: readonly (readonly [string, string, readonly string[]])[] = [
  ['uname', 'uname', ['-a']],
  ['ip-link', 'ip', ['-d', '-s', 'link']],
  ['ip-address', 'ip', ['address']],
  ['ip-rule', 'ip', ['rule']],
  ['ip-route', 'ip', ['route', 'show', 'table', 'all']],
  ['ip-neighbour', 'ip', ['neighbour']],
  ['xdp-sockets', 'ss', ['--xdp', '-e']],
]
const COMMAND_MILLISECONDS_MAX = 5_000
const LOG_BYTES_MAX = 1_048_576

/** Files of one report, and what could not be had. */
class Report {
  readonly directory: string
  readonly missing: string[] = []
  #count = 0

  constructor(directory: string) {
    this.directory = directory
  }

  get count(): number {
    return this.#count
  }

  async add(name: string, text: () => string | Promise<string>): Promise<void> {
    let content: string
    try {
      content = await text()
      this.#count++
    } catch (error) {
      content = `${(error as Error).message}\n`
      this.missing.push(`${name}: ${content.trim()}`)
    }
    writeFileSync(join(this.directory, name), content, { mode: 0o600 })
  }
}

export function addBugReportCommand(program: Command): void {
  const command = program
    .command('bugreport')
    .description('gather what a report of a bug needs into a directory')
    .argument('[directory]', 'where to (./ringpath-bugreport-NODE-TIME)')
  withNode(command).action(bugReport)
}

async function bugReport(directory: string | undefined, options: NodeChoice): Promise<void> {
  const source = await openSource(options)
  const state = stateDirectoryOf(options)
  const report = new Report(madeDirectory(directory ?? defaultDirectory(state)))
  for (const [name, query] of PARTS) {
    await report.add(`${name}.json`, () => partOf(source, name, query))
  }
  await report.add('metrics.txt', () => needed(source).text('GET', '/v1/metrics'))
  await report.add('datapath.log', () => tailOf(join(state, 'datapath.log')))
  await report.add('version.txt', () => versionText())
  for (const [name, program, args] of COMMANDS) {
    await report.add(`${name}.txt`, () => outputOf(program, args))
  }
  for (const line of report.missing) console.error(`not had: ${line}`)
  print(`${report.count} files in ${report.directory}`)
  print(
    'They name addresses, labels and policies of this node: read them before you give them away.',
  )
  print('Agent’s log: journalctl -u ringpath-agent, or wherever its output went')
}

export const versionText = (): string =>
  `ringpath ${VERSION}\nNode ${process.version}\nLinux ${release()} ${process.arch}\n`

function defaultDirectory(state: string): string {
  const time = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-')
  return `ringpath-bugreport-${basename(state)}-${time}`
}

function madeDirectory(path: string): string {
  try {
    makeDirectory(resolve(path))
    return path
  } catch (error) {
    throw new CommandError(`${path}: expected a directory to write to: ${(error as Error).message}`)
  }
}

/** With those above it. Node's own way of that never ends in /proc, where nothing can be made. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return
  const above = dirname(path)
  if (!existsSync(above)) makeDirectory(above)
  mkdirSync(path, { mode: 0o700 })
}

async function partOf(
  source: Source,
  name: string,
  query: Readonly<Record<string, string>>,
): Promise<string> {
  const path = `/v1/${name}`
  if (LINES.has(name)) return needed(source).text('GET', withQuery(path, query))
  return `${JSON.stringify(await source.get(path, query), null, 2)}\n`
}

function needed({ client }: Source) {
  if (client === undefined) throw new CommandError('no agent runs, and this needs one')
  return client
}

function tailOf(path: string): string {
  const text = readFileSync(path, 'utf8')
  return text.length > LOG_BYTES_MAX ? `…${text.slice(-LOG_BYTES_MAX)}` : text
}

function outputOf(program: string, args: readonly string[]): string {
  const { error, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    timeout: COMMAND_MILLISECONDS_MAX,
  })
  if (error !== undefined) throw error
  return `${stdout}${stderr}`
}
