/** The training runs on the memory of the worker's own packets, and leaves it as it was (ADR 0020). */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const PROGRAM = fileURLToPath(new URL('../support/programs/train-worker.js', import.meta.url))

t.test('no buffer is detached, and every frame is free', { timeout: 60_000 }, (t) => {
  const { stdout } = spawnSync(process.execPath, ['--enable-source-maps', PROGRAM])
  const said = stdout.toString()
  t.match(said, /^code trained with \d+ frames/m)
  // Of V8's other assumptions Node itself gives up one (24: TypedArrayLengthLookupChain).
  t.notMatch(said, /ArrayBufferDetaching/)
  const audit = said.split('\n').find((line) => line.startsWith('{'))
  t.match(JSON.parse(audit ?? '{}'), { free: 1024, onRings: 0, inBurst: 0, count: 0 })
  t.end()
})

t.end()
