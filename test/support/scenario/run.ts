/** Runs one scenario on a world and tells everything that is not as it says. */
import { readMetrics } from '../../../src/monitor/metrics.js'
import { DropReason } from '../../../src/packet/drop-reason.js'
import { describe } from '../packet-checker.js'
import { changedFrame, compareFrame } from './expect-frame.js'
import { compareEvents, compareState, DIRECTIONS, describeEvent } from './expect-state.js'
import { encodeFrame, readFrame, resolveLayers } from './frame.js'
import { fromHex } from './hex.js'
import type { LoadedScenario } from './load.js'
import type { Names } from './names.js'
import type { Expectation, ExpectedOut, Layers, Step } from './types.js'
import type { SentFrame, World } from './world.js'

/** Codes below are counters of what is no loss (bpf/lib/drop_reasons.h). */
const DROP_CODE_MIN = 130

export interface Sent {
  readonly port: string
  readonly frame: Uint8Array
}

/**
 * Differences, each with its step; empty when the scenario holds.
 *
 * @param mayGoOn asked before each frame; false ends the run there
 */
export async function runScenario(
  loaded: LoadedScenario,
  world: World,
  mayGoOn: (step: number, next: Sent) => boolean = () => true,
): Promise<string[]> {
  const differences: string[] = []
  const { scenario } = loaded
  let last: Sent | undefined
  for (const [i, step] of scenario.steps.entries()) {
    const at = `step ${i}${step.why === undefined ? '' : ` (${step.why})`}: `
    if (step.seconds !== undefined) await world.advance(step.seconds)
    if (step.change !== undefined) await world.configure(step.change)
    if (step.state !== undefined)
      differences.push(...compareState(step.state, world).map(prefix(at)))
    last = frameOf(step, last, world.names) ?? last
    if (last === undefined || !hasFrame(step)) continue
    if (!mayGoOn(i, last)) return differences
    differences.push(...(await runFrame(step.expect ?? {}, last, world)).map(prefix(at)))
    if (differences.length > 0) return differences
  }
  const after = compareState(scenario.after ?? {}, world)
  return [...differences, ...after.map(prefix('after: '))]
}

const prefix = (text: string) => (line: string) => `${text}${line}`

export const hasFrame = (step: Step): boolean =>
  step.frame !== undefined || step.again !== undefined

/** The frame that a step lets in, and by which port. */
export function frameOf(step: Step, last: Sent | undefined, names: Names): Sent | undefined {
  if (step.frame !== undefined) {
    const port = step.in ?? ''
    const layers = step.frame
    const frame = typeof layers === 'string' ? fromHex(layers) : encodeFrom(port, layers, names)
    return { port, frame }
  }
  if (step.again === undefined) return undefined
  if (last === undefined) throw new Error("'again' without a frame before")
  const changed = changedFrame(readFrame(last.frame), step.again, names)
  return { port: step.in ?? last.port, frame: encodeFrame(changed) }
}

/** Without MACs of its own a frame goes from the far end of its port to the node's. */
function encodeFrom(port: string, layers: Layers, names: Names): Uint8Array {
  const frame = resolveLayers(layers, names)
  const link = { from: names.mac(port), to: names.mac(`${port}.node`) }
  return encodeFrame({ ...frame, eth: { ...link, ...frame.eth } })
}

async function runFrame(expect: Expectation, { port, frame }: Sent, world: World) {
  const before = lossesOf(world)
  world.events()
  const sent = await world.exchange(port, frame)
  const events = world.events()
  const losses = lossesOf(world)
  const lost = [...losses.keys()].filter((key) => losses.get(key) !== before.get(key))
  const differences = compareVerdict(expect, sent, lost, frame, world.names)
  differences.push(...compareEvents(expect.events ?? [], events, world.names))
  if (expect.state !== undefined) differences.push(...compareState(expect.state, world))
  if (differences.length === 0) return []
  return [
    ...differences,
    `in by ${port}: ${describe(frame)}`,
    ...sent.map((out) => `out by ${out.port}: ${describe(out.bytes)}`),
    ...events.map((event) => `event: ${describeEvent(event)}`),
  ]
}

/** Frames lost so far, by "code/direction". */
function lossesOf(world: World): Map<string, number> {
  const lines = readMetrics(world.maps.metrics).filter((line) => line.reason >= DROP_CODE_MIN)
  return new Map(lines.map((line) => [`${line.reason}/${line.direction}`, line.frames]))
}

function compareVerdict(
  expect: Expectation,
  sent: readonly SentFrame[],
  lost: readonly string[],
  incoming: Uint8Array,
  names: Names,
): string[] {
  const wanted = outsOf(expect)
  const codes = lost.map((key) => key.split('/')[0])
  const direction = lost[0]?.split('/')[1]
  const differences: string[] = []
  const drop = expect.drop === undefined ? [] : [String(codeOf(expect.drop))]
  if (codes.join() !== drop.join()) {
    differences.push(`dropped with ${codes.join() || 'nothing'}, expected ${drop.join() || 'none'}`)
  }
  if (expect.direction !== undefined && direction !== String(DIRECTIONS[expect.direction])) {
    differences.push(`direction of the drop is ${direction}, expected ${expect.direction}`)
  }
  if (sent.length !== wanted.length) {
    differences.push(`${sent.length} frames went out, expected ${wanted.length}`)
    return differences
  }
  const left = [...sent]
  for (const out of wanted) {
    const port = portOf(out, left, names)
    const at = left.findIndex((frame) => frame.port === port)
    const found = left[at]
    if (found === undefined) {
      const ports = left.map((frame) => frame.port).join()
      differences.push(`out by ${ports}, expected ${JSON.stringify(out.port)}`)
      continue
    }
    left.splice(at, 1)
    differences.push(...compareFrame(out, port, found.bytes, names, incoming))
  }
  return differences
}

function outsOf(expect: Expectation): readonly ExpectedOut[] {
  if (expect.answer !== undefined) return [expect.answer]
  if (expect.out === undefined) return []
  return Array.isArray(expect.out) ? expect.out : [expect.out as ExpectedOut]
}

/** Where one of several may have got it, the one that did is bound to a name. */
function portOf(out: ExpectedOut, sent: readonly SentFrame[], names: Names): string {
  if (typeof out.port === 'string') return names.port(out.port).name
  const { oneOf, not, as } = out.port
  const excluded = not === undefined ? '' : names.port(not).name
  const found = sent.find(({ port }) => oneOf.includes(port) && port !== excluded)
  if (found === undefined) return ''
  names.bindPort(as, found.port)
  return found.port
}

export function codeOf(drop: number | string): number {
  if (typeof drop === 'number') return drop
  const code = (DropReason as Readonly<Record<string, number>>)[drop]
  if (code === undefined) throw new Error(`${drop} is no drop reason`)
  return -code
}
