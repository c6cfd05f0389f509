/** The demonstration on real pods: it keeps its promises, and nothing is left however it ends. Needs root. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { stateDirectory } from '../../src/demo/state-directory.js'
import { Lab } from '../../src/lab/lab.js'
import { listRuns, namespacesOf, processOfRun } from '../../src/lab/run-record.js'

const CLI = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))
const GONE_TIMEOUT_MS = 15_000
const problem = await Lab.problem()
const skip = problem ?? false

class Demo {
  readonly process: ChildProcess
  output = ''

  constructor(...args: readonly string[]) {
    const all = ['--enable-source-maps', CLI, 'demo', ...args]
    this.process = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'pipe'] })
    const take = (chunk: Buffer) => {
      this.output += chunk.toString()
    }
    this.process.stdout?.on('data', take)
    this.process.stderr?.on('data', take)
  }

  /** The exit code, or the signal's name. */
  async end(): Promise<number | string | null> {
    const [code, signal] = await once(this.process, 'close')
    return signal ?? code
  }

  /** The run's id, as soon as the show has begun. */
  async begun(): Promise<string> {
    while (!this.output.includes('these programs run')) {
      if (this.process.exitCode !== null) throw new Error(`it ended: ${this.output}`)
      await sleep(20)
    }
    const id = listRuns().find((run) => processOfRun(run) === this.process.pid)
    if (id === undefined) throw new Error(`it has no lab: ${this.output}`)
    return id
  }
}

const leftovers = (id: string): string[] => [
  ...namespacesOf(id),
  ...listRuns().filter((run) => run === id),
  ...(fs.existsSync(stateDirectory(id)) ? [stateDirectory(id)] : []),
]

async function leftAfterAWhile(id: string): Promise<string[]> {
  const end = Date.now() + GONE_TIMEOUT_MS
  while (leftovers(id).length > 0 && Date.now() < end) await sleep(50)
  return leftovers(id)
}

t.test('it ends by itself with a summary, as promised, and leaves nothing', { skip }, async (t) => {
  const demo = new Demo('--seconds', '6')
  const id = await demo.begun()
  t.equal(namespacesOf(id).length, 5, 'the node and four pods')
  t.equal(await demo.end(), 0, demo.output)
  const { output } = demo
  t.match(output, /^Ringpath: real pods, real AF_XDP sockets/)
  t.match(output, /ok client +curl 10\.0\.1\.10 +(\d+) of \1 requests answered/)
  t.match(output, /ok client +iperf3 .*bit\/s/)
  t.match(output, /ok node +curl/)
  t.match(output, /ok intruder nc .* 0 of \d+ attempts got through/)
  t.match(output, /\d+ x 133 POLICY_DENIED +ingress/)
  t.match(output, /\d+ x 132 INVALID_SOURCE_IP +egress/)
  t.match(output, /Every frame accounted for/)
  t.match(output, /Nothing is left behind/)
  t.notOk(output.includes('\u001b'), 'no escape sequences on a pipe')
  t.same(leftovers(id), [])
})

t.test('interrupted it sums up what was, and leaves nothing', { skip }, async (t) => {
  const demo = new Demo('--seconds', '60')
  const id = await demo.begun()
  await sleep(3000)
  demo.process.kill('SIGINT')
  t.equal(await demo.end(), 130, demo.output)
  t.match(demo.output, /Summary \(interrupted after \d+ s\)/)
  t.match(demo.output, /Every frame accounted for/)
  t.same(leftovers(id), [])
})

t.test('after kill -9 the next run leaves nothing of either', { skip }, async (t) => {
  const killed = new Demo('--seconds', '60')
  const id = await killed.begun()
  killed.process.kill('SIGKILL')
  await killed.end()
  const next = new Demo('--seconds', '3')
  const nextId = await next.begun()
  t.equal(await next.end(), 0, next.output)
  t.same(await leftAfterAWhile(id), [])
  t.same(leftovers(nextId), [])
})

t.test('--keep leaves pods that can be played with, until --clean', { skip }, async (t) => {
  const demo = new Demo('--seconds', '3', '--keep')
  t.equal(await demo.end(), 0, demo.output)
  const id = /rp-(\w+)-client/.exec(demo.output)?.[1] ?? ''
  t.equal(namespacesOf(id).length, 5)
  const command = (pod: string) => {
    const args = ['netns', 'exec', `rp-${id}-${pod}`, 'curl', '-sS', '--noproxy', '*']
    const child = spawn('ip', [...args, '--max-time', '2', '10.0.1.10'], { stdio: 'ignore' })
    return once(child, 'close')
  }
  t.same(await command('client'), [0, null])
  t.same(await command('node'), [0, null])
  t.same(await command('intruder'), [28, null], 'curl: operation timed out')
  const clean = new Demo('--clean')
  t.equal(await clean.end(), 0)
  t.match(clean.output, new RegExp(`Removed: namespaces rp-${id}-`))
  t.same(leftovers(id), [])
})

t.test('--simulate says so first, and needs nothing', async (t) => {
  const demo = new Demo('--seconds', '3', '--simulate')
  t.equal(await demo.end(), 0, demo.output)
  t.match(demo.output, /^SIMULATION \(as asked for\)/)
  t.match(demo.output, /As promised/)
})
