/**
 * Which file a thread or process of the packet path is started from: its module, or the one file that
 * scripts/bundle.mjs made of it and all that it imports, which V8 compiles to faster code
 * (docs/adr/0019).
 */
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Where compiled modules are, and what tsc writes last. */
const DIST = new URL('../../', import.meta.url)
const BUILD_INFO = new URL('.tsbuildinfo', DIST)

/**
 * @param module URL of a compiled module, below dist/
 * @returns its bundle; the module itself where there is none, or one older than the last build
 */
export function bundled(module: URL): URL {
  const path = module.href.slice(DIST.href.length)
  const bundle = new URL(`bundle/${path}`, DIST)
  const made = timeOf(bundle)
  return made > 0 && made >= timeOf(BUILD_INFO) ? bundle : module
}

/** Of the last change, in milliseconds; 0 where there is no such file. */
const timeOf = (file: URL): number =>
  statSync(fileURLToPath(file), { throwIfNoEntry: false })?.mtimeMs ?? 0
