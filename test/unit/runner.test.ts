/** The test runner counts right: a run that hides a failure would be worse than none. */
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

// Plain JavaScript, as it runs before anything is compiled.
const url = new URL('../../../scripts/test-output.mjs', import.meta.url).href
const { countPoints, judge, total } = (await import(url)) as TestOutput

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
