/**
 * Puts the packet path of each worker into one file, dist/bundle/, after `tsc -b`; those of the
 * benchmarks as well with `node scripts/bundle.mjs bench`. V8 folds the
 * constants of a function's own module, and reads imported ones anew, checks included, at each use
 * (docs/adr/0019). src/base/bundle.ts chooses between a module and its bundle.
 *
 * Nothing is renamed, minified or left out that is used: a profile and a debugger show the sources,
 * by maps through to TypeScript. Packages stay outside.
 */
import { existsSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, relative, resolve } from 'node:path'
import { rollup } from '@rollup/wasm-node'

const DIST = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../dist')
const BUNDLE = resolve(DIST, 'bundle')
const ENTRIES = ['src/engine/datapath-worker.js', 'src/engine/follower-worker.js']
const BENCH_ENTRIES = [
  'bench/run.js',
  'bench/chain/alloc-run.js',
  'bench/chain/chain-run.js',
  'bench/chain/memory-run.js',
  'bench/chain/setup-run.js',
  'bench/chain/steady-run.js',
  'bench/wire/forward-worker.js',
]

const isOwn = (id) => id.startsWith('.') || id.startsWith('/')

/** Source maps of tsc go on into those of the bundle. */
const typescriptMaps = {
  name: 'typescript-maps',
  async load(id) {
    const map = `${id}.map`
    if (!existsSync(map)) return null
    return { code: await readFile(id, 'utf8'), map: JSON.parse(await readFile(map, 'utf8')) }
  },
}

/** What a module finds beside itself, it finds beside itself in dist/ still. */
const ownPlace = (output) => ({
  name: 'own-place',
  resolveImportMeta(property, { moduleId }) {
    if (property !== 'url') return null
    const path = JSON.stringify(relative(dirname(output), moduleId))
    return `new URL(${path}, import.meta.url).href`
  },
})

const timeOf = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0

function isFresh(entry) {
  const sources = [resolve(DIST, '.tsbuildinfo'), new URL(import.meta.url).pathname]
  return timeOf(resolve(BUNDLE, entry)) >= Math.max(...sources.map(timeOf))
}

/** @param cache of the bundle before: they have most modules in common */
async function bundle(entry, cache) {
  const output = resolve(BUNDLE, entry)
  const build = await rollup({
    ...(cache === undefined ? {} : { cache }),
    input: resolve(DIST, entry),
    external: (id) => !isOwn(id),
    plugins: [typescriptMaps, ownPlace(output)],
    onwarn: (warning) => {
      throw new Error(`${entry}: ${warning.message}`)
    },
  })
  await build.write({
    file: output,
    format: 'es',
    sourcemap: true,
    inlineDynamicImports: true,
  })
  await build.close()
  return build.cache
}

const entries = process.argv[2] === 'bench' ? [...ENTRIES, ...BENCH_ENTRIES] : ENTRIES
let cache
for (const entry of entries) {
  if (!isFresh(entry)) cache = await bundle(entry, cache)
}
