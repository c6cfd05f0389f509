/**
 * Programs that the lab runs, without any namespace: their end, their output, and their time limit.
 */
import t from 'tap'
import { run, runOrFail } from '../../src/lab/command.js'
import { onExit } from '../../src/lab/exit-hook.js'
import { LabProcess } from '../../src/lab/lab-process.js'

t.test('a program gets its input and gives output and exit code', async (t) => {
  t.same(await run('cat', [], { input: 'abc' }), { stdout: 'abc', stderr: '', code: 0 })
  const failing = await run('sh', ['-c', 'echo bad >&2; exit 3'])
  t.same(failing, { stdout: '', stderr: 'bad\n', code: 3 })
  t.match(await run('sh', ['-c', 'kill -KILL $$']), { code: 137 })
  t.match(await run('true', [], { input: 'x'.repeat(1 << 20) }), { code: 0 }, 'unread input')
})

t.test('arguments reach the program as they are: there is no shell', async (t) => {
  const { stdout } = await run('printf', ['%s|', '$HOME', 'a b', ';true', '`id`'])
  t.equal(stdout, '$HOME|a b|;true|`id`|')
})

t.test('a failure says which program, its code and what it printed', async (t) => {
  await t.rejects(runOrFail('sh', ['-c', 'echo bad >&2; exit 3']), {
    code: 'ELAB_SETUP',
    message: /ended with 3: bad/,
  })
  await t.rejects(run('no-such-program', []), { code: 'ELAB_SETUP', message: /not installed/ })
})

t.test('a program that takes too long, or prints too much, is ended', async (t) => {
  const startMs = performance.now()
  const slow = run('sh', ['-c', 'echo before; sleep 60'], { timeoutMs: 3_000 })
  await t.rejects(slow, { code: 'ELAB_TIMEOUT', message: /before/ })
  await t.rejects(run('yes', []), { code: 'ELAB_TIMEOUT', message: /printed more than/ })
  t.ok(performance.now() - startMs < 20_000)
})

t.test('output is waited for, also when it came before, and over several pieces', async (t) => {
  const child = new LabProcess('sh', [
    '-c',
    'printf rea; sleep 0.05; echo dy 42; read x; echo "$x"',
  ])
  const [first, second] = await Promise.all([
    child.waitForOutput(/ready (\d+)/),
    child.waitForOutput(/rea/),
  ])
  t.equal(first[1], '42')
  t.ok(second)
  t.ok(await child.waitForOutput(/ready/), 'it is there already')
  child.write('again\n')
  await child.waitForOutput(/again/)
  t.same(await child.ended, { code: 0, signal: null })
  t.notOk(child.isRunning)
  t.same(await child.stop(), { code: 0, signal: null }, 'stopping what has ended is fine')
})

t.test('a program that cannot be started says so to whoever waits', async (t) => {
  const child = new LabProcess('no-such-program', [])
  await t.rejects(child.ended, { code: 'ELAB_SETUP', message: /not installed/ })
  await t.rejects(child.waitForOutput(/x/), { code: 'ELAB_SETUP' })
  child.kill()
})

t.test('exit hooks leave no listener when they are released', async (t) => {
  const counts = () => ['exit', 'SIGINT', 'SIGTERM', 'SIGHUP'].map((e) => process.listenerCount(e))
  const before = counts()
  const release = [onExit(() => undefined, true), onExit(() => undefined, false)]
  t.not(counts()[1], before[1])
  for (const one of release) one()
  for (const one of release) one()
  t.same(counts(), before)
})
