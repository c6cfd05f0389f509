/**
 * What V8 is told before the packet path is compiled; for the whole process, so call it first. (What lets a
 * process end is said in src/base/sure-exit.ts.)
 *
 * V8 stops inlining into a function when a budget is spent, and the lane and the stages are made of
 * small functions on purpose: with this budget a repeated packet takes a tenth less time than with V8's
 * own; with twice as much the datapath is slower again (docs/performance.md). The names are V8's and not a
 * part of Node's interface: one that a later V8 does not know is ignored with a warning on standard error.
 */
import { setFlagsFromString } from 'node:v8'

const FLAGS = ['--max-inlined-bytecode-size=2000', '--max-inlined-bytecode-size-cumulative=4000']

export function tuneV8(): void {
  for (const flag of FLAGS) setFlagsFromString(flag)
}
