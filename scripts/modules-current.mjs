/**
 * Exit code 0 when node_modules holds what package-lock.json asks for, and this Node can load what was
 * compiled there; 1 when `npm ci` is due. Compares contents, not times: a checkout gives every file a new
 * time. Platform-specific optional packages may be absent.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const root = new URL('../', import.meta.url)

function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(new URL(path, root), 'utf8')).packages
  } catch {
    return undefined
  }
}

function isCurrent() {
  const wanted = packagesOf('package-lock.json')
  const installed = packagesOf('node_modules/.package-lock.json')
  if (wanted === undefined || installed === undefined) return false
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (!path.startsWith('node_modules/')) return true
    return installed[path] === undefined ? optional === true : installed[path].version === version
  })
}

/**
 * An add-on without Node-API is compiled for one major version of Node, and npm may not have been let run
 * the script that does.
 */
function areAddonsLoadable() {
  try {
    createRequire(import.meta.url)('raw-socket')
    return true
  } catch {
    return false
  }
}

process.exitCode = isCurrent() && areAddonsLoadable() ? 0 : 1
