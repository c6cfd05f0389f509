/**
 * Counts test points in what a test program printed: TAP 14
 * (https://testanything.org/tap-version-14-specification.html), or the native tests' lines, which
 * look like it. Only points at the top level count, so that a test with ten assertions is one test.
 */

const POINT = /^(not )?ok\b(.*)$/
const SKIPPED = /#\s*(SKIP|TODO)\b/i
const SKIPPED_ANYWHERE = /^\s*(not )?ok\b.*#\s*(SKIP|TODO)\b.*$/i

/**
 * @param {string} output
 * @returns {{passed: number, failed: number, skipped: number, skips: string[]}} `skips` are the
 *   lines of skipped points, at any level
 */
export function countPoints(output) {
  const counts = { passed: 0, failed: 0, skipped: 0, skips: [] }
  for (const line of output.split('\n')) {
    if (SKIPPED_ANYWHERE.test(line)) counts.skips.push(line.trim())
    const match = POINT.exec(line)
    if (match === null) continue
    if (SKIPPED.test(match[2])) counts.skipped++
    else if (match[1] === undefined) counts.passed++
    else counts.failed++
  }
  return counts
}

/**
 * The counts of a whole program: one that crashed, was killed or ran no test at all has failed,
 * whatever its points say.
 *
 * @param {string} output
 * @param {number} code exit code; not 0 when a signal ended it
 */
export function judge(output, code) {
  const counts = countPoints(output)
  const ran = counts.passed + counts.failed + counts.skipped
  if ((code !== 0 && counts.failed === 0) || ran === 0) counts.failed++
  return counts
}

/** @param {readonly {passed: number, failed: number, skipped: number}[]} all */
export function total(all) {
  const sum = { passed: 0, failed: 0, skipped: 0 }
  for (const counts of all) {
    sum.passed += counts.passed
    sum.failed += counts.failed
    sum.skipped += counts.skipped
  }
  return sum
}
