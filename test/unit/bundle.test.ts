/** Which file a worker is started from (src/base/bundle.ts, scripts/bundle.mjs). */
import { readFileSync, statSync, utimesSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { bundled } from '../../src/base/bundle.js'

const DIST = new URL('../../', import.meta.url)
const MODULE = new URL('src/engine/datapath-worker.js', DIST)
const BUNDLE = new URL('bundle/src/engine/datapath-worker.js', DIST)

t.test('a module that has no bundle is its own', async (t) => {
  const module = new URL('src/base/bundle.js', DIST)
  t.equal(bundled(module).href, module.href)
})

t.test('a bundle older than the build is not used', async (t) => {
  const file = fileURLToPath(BUNDLE)
  const { atime, mtime } = statSync(file)
  t.teardown(() => utimesSync(file, atime, mtime))
  utimesSync(file, atime, new Date(0))
  t.equal(bundled(MODULE).href, MODULE.href)
  utimesSync(file, atime, new Date())
  t.equal(bundled(MODULE).href, BUNDLE.href)
})

t.test('a bundle imports packages and Node alone, and its map leads to TypeScript', async (t) => {
  const code = readFileSync(BUNDLE, 'utf8')
  const imported = [...code.matchAll(/^import .*from '(.+)';$/gm)].map(([, name]) => name as string)
  t.ok(imported.includes('xdp-socket-napi'))
  t.same(
    imported.filter((name) => name.startsWith('.') || name.startsWith('/')),
    [],
  )
  const map = JSON.parse(readFileSync(`${fileURLToPath(BUNDLE)}.map`, 'utf8')) as {
    readonly sources: readonly string[]
  }
  t.ok(map.sources.some((source) => source.endsWith('src/pipeline/flow-lane.ts')))
  t.notOk(map.sources.some((source) => source.endsWith('.js')))
})
