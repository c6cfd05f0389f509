/**
 * The rules of the style that no compiler checks, as tests. Biome checks the rest on a real syntax
 * tree (any, non-null assertions, the length of TypeScript functions); that those rules are on is
 * checked here.
 */
import t from 'tap'
import { ErrorCode } from '../../src/base/errors.js'
import {
  folderOf,
  isCode,
  isNative,
  isTest,
  isTypeScript,
  projectFiles,
  type SourceFile,
  sourceFolders,
} from '../support/tidy-files.js'
import { importsOf, reachable, readTable } from '../support/tidy-imports.js'

const LINES_MAX = 400
const FUNCTION_LINES_MAX = 60
const CODE_COLUMNS_MAX = 100
const COMMENT_COLUMNS_MAX = 130
const HEADER_LINES = 20

/** This file and its helpers hold the banned words themselves. */
const files = projectFiles()
const judged = files.filter((file) => !/\/tidy[-.]/.test(file.path))
const code = judged.filter(isCode)

const textOf = (path: string) => files.find((file) => file.path === path)?.text ?? ''

/** `path:line text` of each line that the rule finds fault with. */
function faults(
  among: readonly SourceFile[],
  isFault: (line: string, file: SourceFile) => boolean,
): string[] {
  return among.flatMap((file) =>
    file.lines.flatMap((line, index) =>
      isFault(line, file) ? [`${file.path}:${index + 1} ${line.trim().slice(0, 120)}`] : [],
    ),
  )
}

t.test('the walk finds the project', async (t) => {
  t.ok(files.some((file) => file.path === 'test/unit/tidy.test.ts'))
  t.ok(files.some((file) => file.path === 'package.json'))
  t.ok(code.some(isNative), 'C and C++ too')
})

t.test(`a file has at most ${LINES_MAX} lines, or its header says why not`, async (t) => {
  const long = code.filter((file) => file.lines.length > LINES_MAX)
  const unexplained = long.filter((file) => {
    const header = file.lines.slice(0, HEADER_LINES).join('\n')
    return !/over 400 lines because/.test(header)
  })
  t.same(
    unexplained.map((file) => `${file.path} ${file.lines.length}`),
    [],
  )
})

t.test(`a C or C++ function has at most ${FUNCTION_LINES_MAX} lines`, async (t) => {
  t.same(judged.filter(isNative).flatMap(longNativeBlocks), [])
})

/**
 * Formatted code closes a block at the indentation of the line that opens it; types and namespaces
 * may be longer.
 */
function longNativeBlocks(file: SourceFile): string[] {
  const openings: { indent: number; line: number; text: string }[] = []
  const found: string[] = []
  file.lines.forEach((text, line) => {
    const indent = text.search(/\S/)
    const opening = openings.at(-1)
    if (/^\s*\}/.test(text) && opening !== undefined && indent === opening.indent) {
      openings.pop()
      const length = line - opening.line + 1
      const isFunction = !/\b(class|enum|extern|namespace|struct|union)\b/.test(opening.text)
      if (isFunction && length > FUNCTION_LINES_MAX) {
        found.push(`${file.path}:${opening.line + 1} ${length} lines`)
      }
    }
    if (/\{\s*(\/\/.*)?$/.test(text)) openings.push({ indent, line, text })
  })
  return found
}

t.test('Biome refuses any, non-null assertions and long functions', async (t) => {
  const { linter } = JSON.parse(textOf('biome.json')) as { linter: { rules: unknown } }
  t.match(linter.rules, {
    complexity: {
      noExcessiveLinesPerFunction: { level: 'error', options: { maxLines: FUNCTION_LINES_MAX } },
    },
    style: { noNonNullAssertion: 'error' },
    suspicious: { noExplicitAny: 'error' },
  })
  const wayAround =
    /biome-ignore.*(noExplicitAny|noNonNullAssertion)|@ts-(ignore|nocheck|expect-error)/
  t.same(
    faults(code, (line) => wayAround.test(line)),
    [],
  )
})

t.test(
  `code keeps to ${CODE_COLUMNS_MAX} columns, comments to ${COMMENT_COLUMNS_MAX}`,
  async (t) => {
    // An import or a literal that cannot be broken is the formatter's business.
    const isUnbreakable = (line: string) =>
      /^\s*(\S+\s*[:=]\s*)?(['"`/]\S*|import .*)[,)]*$/.test(line)
    const isComment = (line: string) => /^\s*(\/\/|\/?\*|#)/.test(line)
    const isTooLong = (line: string) => {
      const columns = [...line].length
      if (isComment(line)) return columns > COMMENT_COLUMNS_MAX
      return columns > CODE_COLUMNS_MAX && !isUnbreakable(line)
    }
    t.same(faults(code, isTooLong), [])
  },
)

t.test('nothing is left to be done later', async (t) => {
  // The runner knows TAP's directive of that name.
  const others = judged.filter((file) => !/test-output\.mjs$|runner\.test\.ts$/.test(file.path))
  t.same(
    faults(others, (line) => /\b(TODO|FIXME|HACK)\b/.test(line)),
    [],
  )
})

t.test('no file names a path of one machine or a package registry', async (t) => {
  const path = /(^|[\s'"`(=])\/(work|home|root|Users)\/[\w.]/
  const host = /https?:\/\/[^/\s]*(registry|artifactory|nexus|mirror|proxy)/i
  t.same(
    faults(judged, (line) => path.test(line) || host.test(line)),
    [],
  )
})

t.test('nothing that runs on a node starts a shell', async (t) => {
  const product = code.filter(({ path }) => /^src\/(?!lab\/|demo\/|cli\/completion)/.test(path))
  const shell = /\bshell: true|\bexecSync\(|child_process.*\bexec\b|['"/](ba)?sh['"]/
  t.same(
    faults(product, (line) => shell.test(line)),
    [],
  )
})

t.test('no test is skipped, left for later or run alone', async (t) => {
  const mark = /\b(skip|todo|only)\s*:|\bt\.(skip|todo|only)\(/
  t.same(
    faults(judged.filter(isTest), (line) => mark.test(line)),
    [],
  )
})

t.test('each file says what it is before its first declaration', async (t) => {
  const paths = new Set(judged.map((file) => file.path))
  const bare = judged.filter((file) => {
    // The header file speaks for the two of them.
    if (paths.has(file.path.replace(/\.cc$/, '.h')) && file.path.endsWith('.cc')) return false
    return (isTypeScript(file) || isNative(file)) && !hasHeaderComment(file)
  })
  t.same(
    bare.map((file) => file.path),
    [],
  )
})

/** Imports, includes, include guards, the licence's line and blank lines may come first. */
function hasHeaderComment(file: SourceFile): boolean {
  const preamble = /^(#|import |\/\/ SPDX|\s|\} from |$)/
  const first = file.lines.find((line) => !preamble.test(line))
  return first !== undefined && /^(\/\*|\/\/)/.test(first)
}

const rules = readTable(textOf('docs/architecture.md'))
const imports = files.flatMap(importsOf)

t.test('each folder of src has its row in docs/architecture.md', async (t) => {
  t.same(
    sourceFolders(files).filter((folder) => !rules.has(folder)),
    [],
  )
  const named = [...rules.values()].flatMap((rule) => rule.mayImport)
  t.same(
    named.filter((folder) => !rules.has(folder)),
    [],
  )
})

t.test(
  'folders import only what docs/architecture.md lets them, and never in a circle',
  async (t) => {
    t.same(
      [...rules.keys()].filter((folder) => reachable(rules, folder).has(folder)),
      [],
      'circles',
    )
    const wrong = imports.filter(({ from, folder }) => {
      const own = folderOf(from)
      if (own === undefined || folder === undefined || folder === own) return false
      return !reachable(rules, own).has(folder)
    })
    t.same(
      wrong.map((item) => `${item.from}:${item.line} imports ${item.specifier}`),
      [],
    )
  },
)

t.test('the data plane imports no control plane and no package but our own', async (t) => {
  const isData = (folder: string | undefined) => rules.get(folder ?? '')?.isDataPlane === true
  const wrong = imports.filter(({ from, specifier, folder }) => {
    if (!isData(folderOf(from))) return false
    if (folder !== undefined) return !isData(folder)
    return !/^(\.|node:|xdp-socket-napi$)/.test(specifier)
  })
  t.same(
    wrong.map((item) => `${item.from}:${item.line} imports ${item.specifier}`),
    [],
  )
})

t.test('the product imports no test, benchmark or example', async (t) => {
  const wrong = imports.filter(({ from, specifier }) => {
    return from.startsWith('src/') && /\.\.\/(test|bench|examples)\//.test(specifier)
  })
  t.same(
    wrong.map((item) => `${item.from}:${item.line} imports ${item.specifier}`),
    [],
  )
})

t.test('each error code is explained in docs/errors.md, and no other', async (t) => {
  const rows = textOf('docs/errors.md').matchAll(/^\| `(E\w+)` +\|/gm)
  const explained = [...rows].map((row) => row[1] ?? '').sort()
  t.same(explained, Object.values(ErrorCode).sort())
})
