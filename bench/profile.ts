/**
 * `npm run bench:profile`: what V8 makes of the chain. Prints the deoptimisations of the steady
 * state (there should be none) and the functions in which its time goes, by themselves; the whole
 * profile stays in build/bench/profile/ for Chrome's developer tools.
 */

import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundled } from '../src/base/bundle.js'

const STEADY_MARK = '=== steady ==='
const RUN = fileURLToPath(bundled(new URL('./chain/steady-run.js', import.meta.url)))
const DIRECTORY = 'build/bench/profile'
const FUNCTIONS_SHOWN = 25
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { functionName: string; url: string; lineNumber: number }
  }[]
  readonly samples: readonly number[]
  /** Microseconds between one sample and the next. */
  readonly timeDeltas: readonly number[]
}

/** Lines of V8 about code it had to throw away after the mark. */
function steadyDeoptimisations(): string[] {
  // Unbuffered, so that V8's own lines and the mark keep their order.
  const command = ['-o0', process.execPath, '--trace-deopt', RUN, ...process.argv.slice(2)]
  const options = { encoding: 'utf8', maxBuffer: OUTPUT_BYTES_MAX } as const
  const output = execFileSync('stdbuf', command, options)
  const steady = output.slice(output.indexOf(STEADY_MARK))
  return steady.split('\n').filter((line) => line.includes('bailout'))
}

function selfTimes(profile: CpuProfile): [place: string, microseconds: number][] {
  const places = new Map(
    profile.nodes.map(({ id, callFrame }) => {
      const where = `${basename(callFrame.url)}:${callFrame.lineNumber + 1}`
      return [id, `${callFrame.functionName || '(top level)'} ${where}`]
    }),
  )
  const times = new Map<string, number>()
  for (const [index, node] of profile.samples.entries()) {
    const place = places.get(node) ?? 'unknown'
    times.set(place, (times.get(place) ?? 0) + (profile.timeDeltas[index] ?? 0))
  }
  return [...times].sort((a, b) => b[1] - a[1])
}

function printProfile(): void {
  rmSync(DIRECTORY, { recursive: true, force: true })
  mkdirSync(DIRECTORY, { recursive: true })
  const flags = ['--cpu-prof', '--cpu-prof-interval', '200', `--cpu-prof-dir=${DIRECTORY}`]
  execFileSync(process.execPath, [...flags, RUN, ...process.argv.slice(2)])
  const [file] = readdirSync(DIRECTORY)
  if (file === undefined) throw new Error('node wrote no profile')
  const profile = JSON.parse(readFileSync(join(DIRECTORY, file), 'utf8')) as CpuProfile
  const times = selfTimes(profile)
  const total = times.reduce((sum, [, time]) => sum + time, 0)
  for (const [place, time] of times.slice(0, FUNCTIONS_SHOWN)) {
    console.log(`${((100 * time) / total).toFixed(1).padStart(5)} %  ${place}`)
  }
  console.log(`\nthe whole profile: ${join(DIRECTORY, file)}`)
}

const deoptimisations = steadyDeoptimisations()
console.log(`deoptimisations in the steady state: ${deoptimisations.length}`)
for (const line of deoptimisations) console.log(`  ${line.replace(/0x[0-9a-f]+ ?/g, '')}`)
console.log('\ntime by function, its callees that V8 did not inline left out:')
printProfile()
