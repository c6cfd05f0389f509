/** Commands around the declared state: status, check, apply, diff, get, delete. */
import { statSync } from 'node:fs'
import type { Command } from 'commander'
import { readManifestDirectory } from '../daemon/manifest-directory.js'
import type { Change, Failure } from '../daemon/reconcile.js'
import type { statusOf } from '../daemon/status.js'
import { KINDS } from '../k8s/kinds.js'
import { type Problem, problemText } from '../k8s/problem.js'
import { readTextFile } from '../k8s/text-file.js'
import { changeText } from './change-text.js'
import { Client, CommandError, ExitCode, socketOf, stateDirectoryOf } from './client.js'
import { type ShowOptions, withOutput } from './options.js'
import { type Column, clean, paint, print, printRows, printValue, yamlText } from './output.js'

type Status = ReturnType<typeof statusOf>

/** Of the reasons for drops. */
const DROPS_SHOWN = 5
/** Share of a map in use from which `status` speaks of it. */
const PRESSURE_TOLD = 0.8

export function addStateCommands(program: Command): void {
  const status = program.command('status').description('agent, datapath and documents at a glance')
  withOutput(status).action(showStatus)
  addCheck(program)
  addApply(program)
  addGet(program)
  addDelete(program)
}

async function showStatus(options: ShowOptions): Promise<void> {
  const status = await statusOrWhy(options)
  printValue(status, options.output, () => statusText(status))
  if (!status.health.isHealthy) process.exitCode = ExitCode.FAILED
}

/** Without an agent: does the datapath go on? */
async function statusOrWhy(options: ShowOptions): Promise<Status> {
  try {
    return await new Client(socketOf(options)).json<Status>('GET', '/v1/status')
  } catch (error) {
    const isAway = error instanceof CommandError && error.exitCode === ExitCode.UNREACHABLE
    if (!isAway) throw error
    const { holderOf, isStateDirectory, Role } = await import('../daemon/process-lock.js')
    const directory = stateDirectoryOf(options)
    if (!isStateDirectory(directory)) throw error
    const pid = holderOf(directory, Role.DATAPATH)
    const what =
      pid === undefined
        ? 'no datapath runs either: no frames flow'
        : `its datapath goes on (process ${pid}); changes of documents wait`
    throw new CommandError(`${error.message}; ${what}`, ExitCode.UNREACHABLE)
  }
}

function statusText(status: Status): string {
  const { health, endpoints, problems, failures, counters, events } = status
  const well = health.isHealthy ? paint.green('healthy') : paint.red(health.reasons.join('; '))
  const drops = counters.filter(({ code }) => code > 0).sort((a, b) => b.packets - a.packets)
  const forwarded = counters.filter(({ code }) => code === 0)
  const packets = (of: Status['counters']): number => of.reduce((sum, c) => sum + c.packets, 0)
  const lost = events.lost === 0 ? '' : paint.yellow(`, ${events.lost} lost`)
  const dropLines = drops
    .slice(0, DROPS_SHOWN)
    .map((d) => `  ${d.packets} ${d.reason} (${d.direction})`)
  return [
    `Node       ${paint.bold(clean(status.node))}: ${well}`,
    `Agent      ${status.version}, process ${status.agent.pid}, since ${status.agent.startedAt}`,
    ...datapathLines(status),
    `Endpoints  ${endpoints.attached} of ${endpoints.count} attached`,
    `Services   ${status.services} frontends`,
    `Documents  ${status.documents} in force`,
    ...problems.map((text) => paint.red(`  refused: ${clean(text)}`)),
    ...failures.map((f) => paint.yellow(`  pending: ${f.action} ${f.object}: ${f.message}`)),
    ...setupLines(status.setup),
    ...fullMaps(status.maps),
    `Events     ${events.seen} seen${lost}`,
    `Forwarded  ${packets(forwarded)} packets`,
    `Dropped    ${packets(drops)} packets${drops.length === 0 ? '' : ' (ringpath drops)'}`,
    ...dropLines,
  ].join('\n')
}

function datapathLines({ datapath }: Status): string[] {
  const { isReady, pid, version, standbyPid, deaths, lastRepairMilliseconds: repair } = datapath
  const ended = deaths === 1 ? '; ended once' : `; ended ${deaths} times`
  const repaired = repair === undefined ? '' : `, last replaced in ${Math.round(repair)} ms`
  const history = deaths === 0 ? '' : `${ended}${repaired}`
  const standby = standbyPid === undefined ? '' : `process ${standbyPid}`
  return [
    `Datapath   ${isReady ? `${version ?? ''}, process ${pid}` : paint.red('down')}${history}`,
    `Standby    ${standby || paint.yellow('none yet')}`,
  ]
}

function fullMaps(maps: Status['maps']): string[] {
  const full = maps.filter(({ pressure }) => pressure >= PRESSURE_TOLD)
  return full.map(({ name, pressure, evictions }) => {
    const text = `Map        ${name} is ${Math.round(pressure * 100)} % full, ${evictions} evicted`
    return paint.yellow(`${text} (ringpath top)`)
  })
}

function setupLines({ managed, routes, sysctls, problems }: Status['setup']): string[] {
  const set = sysctls.map(({ name, before, set }) => `  ${name} ${before} → ${set}`)
  return [
    `Set-up     ${managed ? `by the agent: ${routes.length} routes` : 'not by the agent'}`,
    ...set,
    ...problems.map((text) => paint.yellow(`  pending: ${text}`)),
  ]
}

interface FileOptions extends ShowOptions {
  readonly filename: readonly string[]
}

const collect = (value: string, before: readonly string[]): string[] => [...before, value]
const FILE_HELP = 'a file, a directory of them, or - for standard input; may be given several times'

function addCheck(program: Command): void {
  program
    .command('check')
    .description('check documents without an agent: every problem of each is told')
    .option('-f, --filename <file>', FILE_HELP, collect, [] as string[])
    .option('--node <file>', 'the node’s document, for what depends on it')
    .action(async (options: { filename: readonly string[]; node?: string }) => {
      const texts = readFiles(options.filename)
      const { problems, notices, count } = await checkTexts(texts, options.node)
      for (const notice of notices) console.error(`note: ${problemText(notice)}`)
      for (const problem of problems) console.error(problemText(problem))
      if (problems.length > 0) throw new CommandError(counted(problems.length, 'problem'))
      print(`${counted(count, 'document')} in ${counted(texts.length, 'file')}: right`)
    })
}

const NODE_FOR_CHECKS = 'apiVersion: ringpath.io/v1\nkind: Node\nmetadata: { name: node }\nspec: {}'

async function checkTexts(
  texts: readonly Source[],
  nodeFile: string | undefined,
): Promise<{ problems: readonly Problem[]; notices: readonly Problem[]; count: number }> {
  const [{ ofKind, readDocuments }, { desiredState }, { noticesOf }] = await Promise.all([
    import('../k8s/documents.js'),
    import('../k8s/desired-state.js'),
    import('../k8s/notices.js'),
  ])
  const nodeText = nodeFile === undefined ? NODE_FOR_CHECKS : readFile(nodeFile)
  const nodeRead = readDocuments(nodeText, nodeFile ?? 'node')
  const [node] = ofKind(nodeRead.documents, 'Node')
  const read = texts.map(({ text, name }) => readDocuments(text, name))
  const problems = [...nodeRead.problems, ...read.flatMap((r) => r.problems)]
  const all = read.flatMap((r) => r.documents)
  const documents = all.filter(({ body }) => body.kind !== 'Node')
  const notices = noticesOf(documents)
  if (node === undefined) {
    if (nodeRead.problems.length > 0) return { problems, notices, count: all.length }
    throw new CommandError(`${nodeFile}: no document of kind Node`)
  }
  const together = desiredState(documents, node.body).problems
  return { problems: [...problems, ...together], notices, count: all.length }
}

function addApply(program: Command): void {
  const apply = program
    .command('apply')
    .description('put documents in force: all of them, or none')
    .option('-f, --filename <file>', FILE_HELP, collect, [] as string[])
  withOutput(apply).action(async (options: FileOptions) => {
    const result = await send(options, '/v1/apply')
    printChanges(result.changes, options)
    for (const { change, message } of result.failures) {
      console.error(`${change.kind} ${change.name}: ${message}; it is tried again every second`)
    }
    if (result.failures.length > 0) process.exitCode = ExitCode.FAILED
  })
  const diff = program
    .command('diff')
    .description('show what apply would change; nothing is done')
    .option('-f, --filename <file>', FILE_HELP, collect, [] as string[])
  withOutput(diff).action(async (options: FileOptions) => {
    const { changes } = await send(options, '/v1/diff')
    printChanges(changes, options)
    if (changes.length > 0) process.exitCode = ExitCode.DIFFERENT
  })
}

interface Applied {
  readonly changes: readonly Change[]
  readonly failures: readonly Failure[]
}

/** What is wrong by itself is told with the name of its file, which a request has not got. */
async function send(options: FileOptions, path: string): Promise<Applied> {
  const { DocumentError } = await import('../k8s/problem.js')
  const { readDocuments } = await import('../k8s/documents.js')
  const files = readFiles(options.filename)
  const problems = files.flatMap(({ text, name }) => readDocuments(text, name).problems)
  if (problems.length > 0) throw new DocumentError(problems)
  if (!files.some(({ text }) => text.trim() !== '')) {
    throw new CommandError(`${files.map(({ name }) => name).join(', ')}: no document in it`)
  }
  const text = files.map((file) => file.text).join('\n---\n')
  const body = { type: 'application/yaml', bytes: text }
  return new Client(socketOf(options)).json<Applied>('POST', path, body)
}

function printChanges(changes: readonly Change[], { output }: ShowOptions): void {
  printValue(changes, output, () =>
    changes.length === 0 ? 'nothing changes' : changes.map(changeText).join('\n'),
  )
}

interface StoredObject {
  readonly key: string
  readonly source: string
  readonly document: unknown
}

const OBJECTS: readonly Column<StoredObject>[] = [
  { title: 'KIND', value: (r) => r.key.split(' ')[0] ?? '' },
  { title: 'NAME', value: (r) => r.key.split(' ')[1] ?? '' },
  { title: 'SOURCE', value: (r) => r.source },
]

function addGet(program: Command): void {
  const get = program
    .command('get')
    .description('list the documents in force, or print one')
    .argument('[kind]', `one of ${KINDS.join(', ')}`)
    .argument('[name]', 'web, or namespace/web')
  withOutput(get).action(
    async (kind: string | undefined, name: string | undefined, options: ShowOptions) => {
      const wanted = kind === undefined ? undefined : kindOf(kind)
      const all = await new Client(socketOf(options)).json<StoredObject[]>('GET', '/v1/objects')
      const rows = all
        .filter(({ key }) => wanted === undefined || key.startsWith(`${wanted} `))
        .filter(({ key }) => name === undefined || isNamed(key, name))
      if (name !== undefined && rows.length === 0) throw notThere(`${wanted}`, name)
      if (name !== undefined && options.output === 'table') {
        print(rows.map(({ document }) => yamlText(document)).join('\n---\n'))
      } else printRows(rows, OBJECTS, options.output)
    },
  )
}

function addDelete(program: Command): void {
  const remove = program
    .command('delete')
    .description('delete a document that was applied (one of a file: delete it there)')
    .argument('<kind>', `one of ${KINDS.join(', ')}`)
    .argument('<name>', 'web, or namespace/web')
  withOutput(remove).action(async (kind: string, name: string, options: ShowOptions) => {
    const wanted = kindOf(kind)
    const client = new Client(socketOf(options))
    const all = await client.json<StoredObject[]>('GET', '/v1/objects')
    const found = all.find(({ key }) => key.startsWith(`${wanted} `) && isNamed(key, name))
    if (found === undefined) throw notThere(wanted, name)
    const [first = '', second] = (found.key.split(' ')[1] ?? '').split('/')
    const place = second === undefined ? ['-', first] : [first, second]
    const path = ['/v1/objects', wanted, ...place.map(encodeURIComponent)].join('/')
    const { changes } = await client.json<Applied>('DELETE', path)
    printChanges(changes, options)
  })
}

const notThere = (kind: string, name: string): CommandError =>
  new CommandError(`no ${kind} ${name} is in force; \`ringpath get ${kind}\` lists what is`)

function kindOf(text: string): string {
  const found = KINDS.find((kind) =>
    [kind, `${kind}s`].some((k) => k.toLowerCase() === text.toLowerCase()),
  )
  if (found !== undefined) return found
  throw new CommandError(`kind: '${text}', expected one of ${KINDS.join(', ')}`, ExitCode.USAGE)
}

const isNamed = (key: string, name: string): boolean => {
  const own = key.split(' ')[1] ?? ''
  return own === name || own === `default/${name}`
}

interface Source {
  readonly name: string
  readonly text: string
}

function readFiles(names: readonly string[]): Source[] {
  if (names.length === 0) throw new CommandError('which documents? give -f FILE', ExitCode.USAGE)
  return names.flatMap((name): Source[] => {
    if (name === '-') return [{ name: 'standard input', text: readFile(0, 'standard input') }]
    if (!isDirectory(name)) return [{ name, text: readFile(name) }]
    const { files, unreadable, problem } = readManifestDirectory(name)
    if (problem !== undefined) throw new CommandError(`${name}: ${problem}`)
    for (const [file, why] of unreadable) throw new CommandError(`${name}/${file}: ${why}`)
    if (files.size === 0) throw new CommandError(`${name}: no .yaml, .yml or .json file in it`)
    return [...files].map(([file, text]) => ({ name: `${name}/${file}`, text }))
  })
}

const isDirectory = (name: string): boolean =>
  statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false

function readFile(path: string | number, name = `${path}`): string {
  try {
    return readTextFile(path)
  } catch (error) {
    throw new CommandError(`${name}: ${(error as Error).message}`)
  }
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`
