/** What is told at the end, and whether it is what was promised at the beginning. */
import type { Program } from './program.js'
import type { Snapshot } from './sampler.js'
import { count, type Paint, right } from './text.js'
import { dropLine, programLine } from './view.js'
import type { WorldEnd } from './world.js'

export interface SummaryInput {
  readonly programs: readonly Program[]
  /** How long it was shown. */
  readonly seconds: number
  readonly snapshot: Snapshot
  /** Undefined while the world stays (`--keep`). */
  readonly end: WorldEnd | undefined
  readonly isSimulated: boolean
  /** Ended by the user before its time. */
  readonly isInterrupted: boolean
  /** What broke the datapath. */
  readonly problem: string | undefined
}

export const ExitCode = { AS_PROMISED: 0, BROKEN_PROMISE: 1, INTERRUPTED: 130 } as const

export function exitCode(input: SummaryInput): number {
  const { programs, end, isInterrupted, problem } = input
  const isCleanEnd = end === undefined || (end.isEveryFrameAccounted && end.leftBehind.length === 0)
  // Of an interrupted show only what had begun can be judged.
  const judged = isInterrupted ? programs.filter(({ attempts }) => attempts > 0) : programs
  const isKept = judged.every((program) => program.isAsPromised)
  if (problem !== undefined || !isCleanEnd || !isKept) return ExitCode.BROKEN_PROMISE
  return isInterrupted ? ExitCode.INTERRUPTED : ExitCode.AS_PROMISED
}

export function summaryLines(input: SummaryInput, paint: Paint): string[] {
  const { programs, snapshot, end, isInterrupted, problem } = input
  const seconds = input.seconds.toFixed(0)
  const title = isInterrupted
    ? `Summary (interrupted after ${seconds} s)`
    : `Summary of ${seconds} s`
  return [
    '',
    paint.bold(input.isSimulated ? `${title}, in simulation` : title),
    ...programs.map((program) => finalLine(program, paint)),
    '',
    ...frameLines(snapshot, end, paint),
    ...(problem === undefined ? [] : [paint.bad(`The datapath broke: ${problem}`)]),
    verdictLine(input, paint),
  ]
}

function finalLine(program: Program, paint: Paint): string {
  return programLine(program, paint, program.attempts === 0 ? 'did not finish' : undefined)
}

function frameLines(snapshot: Snapshot, end: WorldEnd | undefined, paint: Paint): string[] {
  const frames = end?.frames || snapshot.receivedFrames
  const { forwardedFrames, droppedFrames } = snapshot
  const lines = [
    `${count(frames)} frames went through the TypeScript pipeline: ` +
      `${count(forwardedFrames)} sent on, ${count(droppedFrames)} dropped`,
  ]
  for (const drop of snapshot.drops) lines.push(dropLine(drop, paint))
  if (snapshot.lostOnRings > 0) {
    const text = 'found no room in a ring: TCP sends such again, ping and UDP lose them'
    lines.push(` ${right(count(snapshot.lostOnRings), 8)} more ${text}`)
  }
  if (end === undefined) return lines
  lines.push(
    end.isEveryFrameAccounted
      ? 'Every frame accounted for: all packet memory was free again at the end.'
      : paint.bad('The datapath did not confirm that every frame was accounted for.'),
    end.leftBehind.length === 0
      ? 'Nothing is left behind: no namespace, device, process or file.'
      : paint.bad(`Left behind: ${end.leftBehind.join(', ')}`),
  )
  return lines
}

function verdictLine(input: SummaryInput, paint: Paint): string {
  const code = exitCode(input)
  if (code === ExitCode.BROKEN_PROMISE) {
    return paint.bad('NOT as promised: see the lines marked !! or .. above.')
  }
  const part = code === ExitCode.INTERRUPTED ? 'As promised as far as it went' : 'As promised'
  return paint.good(`${part}: what the policy allows worked, and nothing else got through.`)
}
