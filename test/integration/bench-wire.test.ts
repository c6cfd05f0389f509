/** The benchmarks on the wire, at their smallest: each still runs, and leaves nothing behind. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { listRuns, namespacesOf } from '../../src/lab/run-record.js'

const RUNNER = fileURLToPath(new URL('../../bench/run.js', import.meta.url))
const REMOVAL_MILLISECONDS = 10_000

interface Line {
  readonly name: string
  readonly median: number | null
  readonly runs: number
  readonly note?: string
  readonly yardstick?: string
}

const each = (of: string, names: string): string[] =>
  names.split(' ').map((name) => of.replace('*', name))

/** What must have been measured, besides the chains and the peers. */
const MEASURED: readonly string[] = [
  ...each('*/full/wire', 'alloc gc'),
  ...each('lossless/*/64', 'full c-full'),
  ...['full', 'full-poll', 'c-full'].flatMap((name) => [
    `latency/${name}/10k`,
    ...each(`latency/${name}/10k/*`, 'p50 p99.9 max'),
  ]),
  ...each('cpu/adaptive/*', '0 10 50 100'),
  ...each('cpu/poll/*', '10 50 100'),
  ...each('idle/*', 'poll awake/poll first-packet c-first-packet'),
  ...each('scale/*', '1-worker 2-workers'),
  ...each('start/*/loss', 'full untrained c-full'),
  ...each('start/*/p50', 'full untrained c-full'),
  ...each('start/*/p99.9', 'full untrained c-full'),
  ...each('start/*/deoptimisations', 'full untrained'),
  ...each('tcp/pod/*', '1 4 9000 9000/4'),
  ...each('tcp/routing/*', '1 4 9000 9000/4'),
]

/** A loss, a count, CPU at rest, and a rate without loss where the machine had none. */
const MAY_BE_ZERO = /^(lossless|gc)\/|\/(loss|deoptimisations)$|^cpu\/\w+\/0$|^idle\/.*poll$/
/** A difference of two figures; and a heap that was collected meanwhile. */
const MAY_BE_NEGATIVE = /^idle\/.*first-packet$|^alloc\//

/** JSON has null for what is no number. */
function isWithoutMeaning({ name, median }: Line): boolean {
  if (median === null || !Number.isFinite(median)) return true
  if (MAY_BE_NEGATIVE.test(name)) return false
  return MAY_BE_ZERO.test(name) ? median < 0 : median <= 0
}

const start = (...args: string[]): ChildProcess =>
  spawn(process.execPath, ['--enable-source-maps', RUNNER, ...args], { stdio: 'pipe' })

/** Of what a benchmark that failed has told: it says last why. */
const LAST_LINES = 10

async function outputOf(child: ChildProcess): Promise<string> {
  let [text, told] = ['', '']
  child.stdout?.on('data', (chunk) => {
    text += String(chunk)
  })
  child.stderr?.on('data', (chunk) => {
    told += String(chunk)
  })
  const [code] = await once(child, 'close')
  if (code === 0) return text
  const last = told.trimEnd().split('\n').slice(-LAST_LINES).join('\n')
  throw new Error(`the benchmark ended with ${code}: ${last}`)
}

const resultsIn = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line)

/** Lab runs of others may exist beside ours. */
const runsNow = (): Set<string> => new Set(listRuns())

t.test('every benchmark on the wire still runs, and a peer that cannot says why', async (t) => {
  const names = ['wire', 'peer', 'lossless', 'latency', 'idle', 'scale', 'start', 'tcp']
  const results = resultsIn(await outputOf(start('--smoke', '--only', names.join(','))))
  for (const name of ['drop', 'l2', 'pod', 'service', 'masquerade', 'overlay', 'full']) {
    const found = results.find((result) => result.name === `wire/${name}/64`)
    t.ok((found?.median ?? 0) > 0, `wire/${name}/64 carried frames`)
    const theirs = name === 'masquerade' ? undefined : `wire/c-${name}/64`
    t.equal(found?.yardstick, theirs, `wire/${name}/64 is compared with the same in C, if there is`)
  }
  for (const name of ['nft-dnat', 'bridge', 'redirect-peer', 'devmap', 'testpmd', 'ovs']) {
    const found = results.find((result) => result.name === `peer/${name}`)
    const theirs = results.find((result) => result.name === `peer/rate/${name}`)
    const isTold = found?.runs === 0 && (found.note ?? '').startsWith('not run: ')
    t.ok(isTold || (theirs?.median ?? 0) > 0, `peer/${name} carried frames, or says why it did not`)
  }
  const measured = results.filter(({ runs }) => runs > 0)
  const found = new Set(measured.map(({ name }) => name))
  t.same(
    MEASURED.filter((name) => !found.has(name)),
    [],
    'nothing is missing',
  )
  t.same(measured.filter(isWithoutMeaning), [], 'every figure is one')
  const untold = results.filter(({ runs, note }) => runs === 0 && !note?.startsWith('not run: '))
  t.same(untold, [], 'what was not run says why')
})

t.test('a benchmark that is killed leaves no namespace, file or process', async (t) => {
  const before = runsNow()
  const child = start('--smoke', '--only', 'peer')
  const deadline = Date.now() + REMOVAL_MILLISECONDS
  const ours = (): string[] => listRuns().filter((id) => !before.has(id))
  const tracks = (): string[] => ours().flatMap(namespacesOf)
  while (tracks().length < 4 && Date.now() < deadline) await pause(20)
  const [id = ''] = ours()
  t.ok(tracks().length >= 4, 'it was at work')
  child.kill('SIGKILL')
  await once(child, 'close')
  const end = Date.now() + REMOVAL_MILLISECONDS
  while (listRuns().includes(id) && Date.now() < end) await pause(20)
  t.same(namespacesOf(id), [], 'no namespace')
  t.notOk(existsSync(`/run/ringpath-lab/${id}.d`), 'no file')
  // One that was killed on a core that others have is there until it gets its turn.
  while (processesNaming(`rp-${id}-`).length > 0 && Date.now() < end) await pause(20)
  t.same(processesNaming(`rp-${id}-`), [], 'no process')
})

/** Command lines that hold the text; ours are started by `ip netns exec`, which becomes them. */
function processesNaming(text: string): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => namespaceTextOf(pid).includes(text))
}

function namespaceTextOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))
