/**
 * The project's own files, for the tidy test: found by walking, so that it works without git too.
 */
import * as fs from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
/** Not ours, made by tools, or data. */
const FOLDERS_LEFT_OUT = new Set(['.git', '.tap', 'build', 'dist', 'fixtures', 'node_modules'])
const TEXT_PATTERN =
  /\.(c|cc|cjs|gyp|gypi|h|json|md|mjs|sh|ts|txt|yaml|yml)$|CMakeLists\.txt$|\/run$/

export interface SourceFile {
  /** From the root of the project, with slashes. */
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
}

/** All text files of the project, sorted by path. */
export function projectFiles(): readonly SourceFile[] {
  return walk(ROOT)
    .map((path) => relative(ROOT, path))
    .filter((path) => TEXT_PATTERN.test(path))
    .sort()
    .map((path) => {
      const text = fs.readFileSync(join(ROOT, path), 'utf8')
      return { path, text, lines: text.replace(/\n$/, '').split('\n') }
    })
}

export const isTypeScript = (file: SourceFile) => file.path.endsWith('.ts')
export const isNative = (file: SourceFile) => /\.(c|cc|h)$/.test(file.path)
export const isCode = (file: SourceFile) => /\.(c|cc|cjs|h|mjs|sh|ts)$/.test(file.path)
export const isTest = (file: SourceFile) => /^test\/.*\.ts$/.test(file.path)

/** The names of the folders of src/ that hold files. */
export function sourceFolders(files: readonly SourceFile[]): readonly string[] {
  const names = files.map((file) => folderOf(file.path)).filter((name) => name !== undefined)
  return [...new Set(names)].sort()
}

/** `conntrack` of src/conntrack/…; undefined outside src/. */
export function folderOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1]
}

function walk(folder: string): string[] {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return FOLDERS_LEFT_OUT.has(entry.name) ? [] : walk(path)
    return entry.isFile() ? [path] : []
  })
}
