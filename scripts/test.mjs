/**
 * The test run: `node scripts/test.mjs [all | unit | integration | native] [part of a file name]`.
 * Expects scripts/setup.sh to have run. Each test file is a program of its own that prints TAP. Of
 * one that fails is shown what failed; all that it printed is kept in build/test-logs/.
 *
 * The last line is `N passed, N failed, N skipped`, in test points at the top level of each file.
 * Exit code 0 means that none failed. Where root is available a skipped integration test is a
 * failure; where it is not, each file of them counts as skipped and the last line says so.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { excerptOf } from './failure-excerpt.mjs'
import { endAll, runProgram } from './run-program.mjs'
import { judge, total } from './test-output.mjs'
import { lanesOf, planOf } from './test-plan.mjs'
import { closeScratch, openScratch } from './test-scratch.mjs'

const PARTS = {
  unit: ['lint', 'types', 'unit'],
  integration: ['integration'],
  native: ['native'],
}
const ALL = ['lint', 'types', 'unit', 'integration', 'native']
const STEP_TIMEOUT_SECONDS = 120
const UNIT_TIMEOUT_SECONDS = 120
const INTEGRATION_TIMEOUT_SECONDS = 300
const NATIVE_TIMEOUT_SECONDS = 300
const LOGS = 'build/test-logs'

process.chdir(new URL('..', import.meta.url).pathname)

const [part = 'all', ...patterns] = process.argv.slice(2)
const steps = part === 'all' ? ALL : PARTS[part]
if (steps === undefined) {
  console.error(`no part "${part}": use all, ${Object.keys(PARTS).join(', ')}`)
  process.exit(2)
}

let isInterrupted = false
for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143 })) {
  process.on(signal, async () => {
    if (isInterrupted) return
    isInterrupted = true
    await endAll()
    process.exit(code)
  })
}

/** A step that has no test points: nothing when it is well, one failure when it is not. */
async function check(title, command, args) {
  const result = await runProgram(command, args, { timeoutSeconds: STEP_TIMEOUT_SECONDS })
  const isWell = result.code === 0
  tell(isWell, title, '', result)
  return { passed: 0, failed: isWell ? 0 : 1, skipped: 0 }
}

async function runFile(folder, name, { timeoutSeconds, mayNotSkip }) {
  const args = ['--enable-source-maps', `dist/test/${folder}/${name}.test.js`]
  // tap's own limit is 30 s for a file: a whole integration test may take longer.
  const env = { TAP_TIMEOUT: `${timeoutSeconds}`, TMPDIR: scratch }
  const result = await runProgram(process.execPath, args, { timeoutSeconds, env })
  const counts = judge(result.output, result.code)
  if (mayNotSkip && counts.skips.length > 0) {
    const skips = counts.skips.join('\n')
    result.output += `\nrunner: root is available, so this must not be skipped:\n${skips}\n`
    counts.failed += counts.skips.length
    counts.skipped = 0
  }
  tell(counts.failed === 0, name, amount(counts), result)
  return counts
}

/** By the sources, so that the compiled remains of a deleted test do not run. */
function testNames(folder) {
  return readdirSync(`test/${folder}`)
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => file.slice(0, -'.test.ts'.length))
    .filter((name) => patterns.length === 0 || patterns.some((pattern) => name.includes(pattern)))
    .sort()
}

async function runFiles(folder, names, jobs, options) {
  const waiting = [...names]
  const results = []
  const work = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      if (!isInterrupted) results.push(await runFile(folder, name, options))
    }
  }
  await Promise.all(Array.from({ length: jobs }, work))
  return total(results)
}

const RUN = {
  lint: () => check('lint', 'node_modules/.bin/biome', ['check', '--error-on-warnings', '.']),
  types: () => check('types', 'node_modules/.bin/tsc', ['-b']),
  unit: () =>
    runFiles('unit', testNames('unit'), availableParallelism(), {
      timeoutSeconds: UNIT_TIMEOUT_SECONDS,
      mayNotSkip: false,
    }),
  integration: async () => {
    const names = testNames('integration')
    if (rootProblem !== '') return { passed: 0, failed: 0, skipped: names.length }
    const { together, alone } = planOf(names)
    const options = { timeoutSeconds: INTEGRATION_TIMEOUT_SECONDS, mayNotSkip: true }
    const lanes = lanesOf(availableParallelism())
    return total([
      await runFiles('integration', together, lanes, options),
      await runFiles('integration', alone, 1, options),
    ])
  },
  native: async () => {
    const args = ['run', '--silent', 'test:native', '-w', 'native']
    const env = rootProblem === '' ? {} : { RINGPATH_NO_ROOT: '1' }
    const result = await runProgram('npm', args, { timeoutSeconds: NATIVE_TIMEOUT_SECONDS, env })
    const counts = judge(result.output, result.code)
    tell(counts.failed === 0, 'C++ under ASan and UBSan', amount(counts), result)
    return counts
  },
}

function findRootProblem() {
  if (process.geteuid?.() !== 0) return 'they need root'
  const trial = spawnSync('unshare', ['--net', 'true'], { timeout: 5_000 })
  return trial.status === 0 ? '' : 'network namespaces are not permitted here'
}

function amount({ passed, failed, skipped }) {
  const parts = [`${passed} passed`]
  if (failed > 0) parts.push(`${failed} failed`)
  if (skipped > 0) parts.push(`${skipped} skipped`)
  return parts.join(', ')
}

function tell(isWell, title, detail, { output, seconds }) {
  // What an interrupted program says is of no use.
  if (isInterrupted) return
  if (!isWell) failures.push(title)
  const mark = isWell ? 'ok    ' : 'FAILED'
  console.log(`  ${mark} ${title.padEnd(32)} ${detail.padEnd(24)} ${seconds.toFixed(1)} s`)
  if (isWell) return
  const log = `${LOGS}/${title.replaceAll(/\W+/g, '-')}.log`
  mkdirSync(LOGS, { recursive: true })
  writeFileSync(log, output)
  console.log(excerptOf(output).replaceAll(/^/gm, '    '))
  console.log(`    (all it printed: ${log})`)
}

rmSync(LOGS, { recursive: true, force: true })
mkdirSync(LOGS, { recursive: true })
const scratch = openScratch()
process.on('exit', () => closeScratch(scratch))
const rootProblem = findRootProblem()
const failures = []
const results = []
for (const step of steps) {
  if (isInterrupted) break
  const isLeftOut = step === 'integration' && rootProblem !== ''
  console.log(isLeftOut ? `${step}: skipped, ${rootProblem}` : `${step}:`)
  results.push(await RUN[step]())
}
if (!isInterrupted) {
  const sum = total(results)
  if (failures.length > 0) console.log(`\nfailed: ${failures.join(', ')}`)
  const isPartial = steps.includes('integration') && rootProblem !== ''
  const reason = isPartial ? ` (integration tests: ${rootProblem})` : ''
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped${reason}`)
  process.exitCode = sum.failed === 0 ? 0 : 1
}
