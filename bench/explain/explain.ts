/** `npm run bench -- --explain`: where the time of a packet goes, in memory and on the wire. */
import { Lab } from '../../src/lab/lab.js'
import { type Split, splitInMemory } from './memory-split.js'
import { splitOnTheWire } from './wire-split.js'

/** Smaller ones are added up. */
const SHOWN_NANOSECONDS_MIN = 0.5
const WIDTH = 52

export async function explain(
  size: 'full' | 'quick' | 'smoke',
  flows: number,
  log: (line: string) => void,
): Promise<Split[]> {
  const splits = splitInMemory(size, flows)
  const problem = await Lab.problem()
  if (problem === undefined) splits.push(...(await splitOnTheWire(size, flows)))
  else log(`the wire: not run: ${problem}`)
  return splits
}

export function splitTable({ title, parts }: Split): string {
  const total = parts.reduce((sum, [, nanoseconds]) => sum + nanoseconds, 0)
  const shown = parts.filter(([, nanoseconds]) => nanoseconds >= SHOWN_NANOSECONDS_MIN)
  const rest = total - shown.reduce((sum, [, nanoseconds]) => sum + nanoseconds, 0)
  const lines = [...shown, ['less than that, together', rest] as const].map(
    ([name, nanoseconds]) => {
      const share = `${((100 * nanoseconds) / total).toFixed(0)} %`
      return `  ${name.padEnd(WIDTH)} ${nanoseconds.toFixed(1).padStart(8)} ${share.padStart(6)}`
    },
  )
  return [`${title}: ns per packet`, ...lines, ''].join('\n')
}
