/** `ringpath bench` hands its options to the benchmarks of the checkout, and their failure back. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const RINGPATH = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))
const bench = (...words: string[]) =>
  spawnSync(process.execPath, [RINGPATH, 'bench', ...words], { encoding: 'utf8' })

t.test('options reach the benchmarks', async (t) => {
  const unknown = bench('--smoke', '--only', 'there-is-no-such-benchmark')
  t.equal(unknown.status, 1)
  t.match(unknown.stderr, /there-is-no-such-benchmark.*micro.*wire/s)
})

t.test('what the benchmarks refuse fails the command, too', async (t) => {
  const refused = bench('--no-such-option')
  t.equal(refused.status, 1)
  t.match(refused.stderr, /no-such-option/)
})
