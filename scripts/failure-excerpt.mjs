/**
 * What a reader needs of a failed program's output: in TAP the points that failed, with the first
 * lines of what is said of them and the titles of the tests around them, and before them what the
 * program printed besides. Of anything else, such as a compiler's messages, the beginning.
 */

const POINT_LINES_MAX = 24
const OTHER_LINES_MAX = 20
const LINES_MAX = 90
/** Of one line: a point's name may be all that a program printed. */
const CHARACTERS_MAX = 240
const POINT = /^(\s*)(not ok|ok)\b/
const OF_TAP = /^\s*(# |#$|\d+\.\.\d+|TAP version|$)/

/**
 * @param {string} output
 * @returns {string} at most some 90 lines
 */
export function excerptOf(output) {
  const lines = output.trimEnd().split('\n').map(shortened)
  if (!lines.some((line) => POINT.test(line))) return cut(lines, LINES_MAX).join('\n')
  const { failures, others } = read(lines)
  const end = others.slice(-OTHER_LINES_MAX)
  return [...end, ...cut(failures, LINES_MAX - end.length)].join('\n')
}

const shortened = (line) =>
  line.length > CHARACTERS_MAX ? `${line.slice(0, CHARACTERS_MAX)}…` : line

/** The lines about points that failed, and those that are no TAP. */
function read(lines) {
  const failures = []
  const others = []
  // Indentation of the failure told last, until a test around it ends.
  let told = -1
  for (let i = 0; i < lines.length; i++) {
    const [, indent, verdict] = POINT.exec(lines[i]) ?? []
    const about = isDiagnosis(lines[i + 1]) ? diagnosisAt(lines, i + 1) : []
    if (verdict === undefined) {
      if (!OF_TAP.test(lines[i])) others.push(lines[i])
      continue
    }
    i += about.length
    if (verdict === 'ok') continue
    failures.push(lines[i - about.length])
    // A test fails because a point in it did, and says no more about it.
    if (told <= indent.length) failures.push(...cut(about, POINT_LINES_MAX))
    told = indent.length === 0 ? -1 : indent.length
  }
  return { failures, others }
}

const isDiagnosis = (line) => line !== undefined && line.trim() === '---'

/** From `---` to `...`, or to the end of a program that died in between. */
function diagnosisAt(lines, start) {
  const end = lines.findIndex((line, i) => i > start && line.trim() === '...')
  return lines.slice(start, end < 0 ? lines.length : end + 1)
}

function cut(lines, max) {
  if (lines.length <= max) return lines
  return [...lines.slice(0, max - 1), `… and ${lines.length - max + 1} lines more`]
}
