/** The test runner counts right: a run that hides a failure would be worse than none. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly skips: readonly string[]
}
interface TestOutput {
  countPoints(output: string): Counts
  judge(output: string, code: number): Counts
  total(all: readonly Counts[]): Pick<Counts, 'passed' | 'failed' | 'skipped'>
}

interface FailureExcerpt {
  excerptOf(output: string): string
}
interface TestPlan {
  readonly RUN_ALONE: Readonly<Record<string, string>>
  planOf(names: readonly string[]): { readonly together: string[]; readonly alone: string[] }
}

// Plain JavaScript, as it runs before anything is compiled.
const script = async (name: string): Promise<unknown> =>
  import(new URL(`../../../scripts/${name}`, import.meta.url).href)
const { countPoints, judge, total } = (await script('test-output.mjs')) as TestOutput
const { excerptOf } = (await script('failure-excerpt.mjs')) as FailureExcerpt
const { RUN_ALONE, planOf } = (await script('test-plan.mjs')) as TestPlan

const PASSING = `TAP version 14
# Subtest: a rule
    ok 1 - should be equal
    ok 2 - should be equal
    1..2
ok 1 - a rule # time=7ms

ok 2 - another
1..2
`

t.test('only points at the top level count', async (t) => {
  t.same(countPoints(PASSING), { passed: 2, failed: 0, skipped: 0, skips: [] })
  t.match(countPoints('ok - a native test\nnot ok - another\n2 tests, 1 failed\n'), {
    passed: 1,
    failed: 1,
  })
  t.match(countPoints('okay\nnot okay\nok\n'), { passed: 1, failed: 0 })
})

t.test('a skipped point is skipped, and is found at any level', async (t) => {
  const text = 'ok 1 - later # SKIP no root\nnot ok 2 - some day # TODO\n'
  t.match(countPoints(text), { passed: 0, failed: 0, skipped: 2 })
  const nested = '    ok 1 - inner # SKIP no root\nok 1 - outer\n'
  t.match(countPoints(nested), { passed: 1, skipped: 0, skips: ['ok 1 - inner # SKIP no root'] })
})

t.test('a program that crashes, or runs no test, has failed', async (t) => {
  t.match(judge(PASSING, 0), { passed: 2, failed: 0 })
  t.match(judge(PASSING, 1), { passed: 2, failed: 1 }, 'it crashed after its tests')
  t.match(judge('', 0), { failed: 1 }, 'it ran none')
  t.match(judge('not ok 1 - x\n', 1), { failed: 1 }, 'a failure counts once')
})

t.test('files add up', async (t) => {
  t.same(total([judge(PASSING, 0), judge(PASSING, 1)]), { passed: 4, failed: 1, skipped: 0 })
})

const FAILING = `TAP version 14
SEED=7
# Subtest: a rule
    ok 1 - well
    not ok 2 - should be equal
      ---
      diff: |
        +1
      ...
    1..2
not ok 1 - a rule # time=7ms
  ---
  source: what the point in it said
  ...

ok 2 - another
1..2
`

t.test('of a failure is shown what failed, and what was printed besides', async (t) => {
  const lines = ['SEED=7', '    not ok 2 - should be equal', '      ---', '      diff: |']
  const rest = ['        +1', '      ...', 'not ok 1 - a rule # time=7ms']
  t.equal(excerptOf(FAILING), [...lines, ...rest].join('\n'))
})

t.test('a long story is cut, of a compiler as of a test', async (t) => {
  const failures = 'not ok 1 - x\n  ---\n  a: b\n  ...\n'.repeat(1000)
  for (const text of [failures, 'error\n'.repeat(1000), `${'line\n'.repeat(1000)}${FAILING}`]) {
    t.ok(excerptOf(text).split('\n').length <= 100)
  }
  t.match(excerptOf('error\n'.repeat(1000)), /^error\n.*… and \d+ lines more$/s)
})

t.test('a test that dies in the middle of what it says is shown to there', async (t) => {
  t.equal(excerptOf('not ok 1 - x\n  ---\n  a: b\n'), 'not ok 1 - x\n  ---\n  a: b')
})

t.test('what runs alone is there, and all else runs together', async (t) => {
  for (const name of Object.keys(RUN_ALONE)) {
    const path = new URL(`../../../test/integration/${name}.test.ts`, import.meta.url)
    t.ok(existsSync(fileURLToPath(path)), name)
  }
  t.same(planOf(['lab', 'nat', 'pods']), { together: ['nat', 'pods'], alone: ['lab'] })
})
