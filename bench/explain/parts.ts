/**
 * Which part of a packet's way a sample of V8's CPU profile belongs to: a pass of the flow lane, a
 * pass of the pipeline, or a stage, with all that it calls. Read from the innermost function
 * outward. V8 knows little of what it inlined: such time is told with the function around it.
 */
import { findSourceMap } from 'node:module'
import { basename } from 'node:path'

interface CallFrame {
  readonly functionName: string
  readonly url: string
  /** Of the function's beginning, from 0. */
  readonly lineNumber: number
  readonly columnNumber: number
}

interface ProfileNode {
  readonly id: number
  readonly callFrame: CallFrame
  readonly children?: readonly number[]
}

export interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  /** Microseconds between one sample and the next. */
  readonly timeDeltas: readonly number[]
}

/** Not the engine's: what the benchmark does to have frames. */
export const RIG = 'rig'
const OTHER = 'V8 itself, and what has no name'

const REPEAT = 'lane: find, rewrite, count'
const LANE_PASSES: Readonly<Record<string, string>> = {
  touchFrames: 'lane: touch the frames',
  placeFrames: 'lane: classify, hash',
  touchFlows: 'lane: touch the flows',
  repeatFrames: REPEAT,
  repeatUntil: REPEAT,
  lookAgain: REPEAT,
  // V8 may put passes into it.
  run: 'lane: passes, and what is done once a burst',
  learn: 'lane: learn',
  step: 'housekeeping',
}
const PIPELINE_PASSES: Readonly<Record<string, string>> = {
  '#touchConnections': 'pass 2: touch the connections',
}
const HOUSEKEEPING = ['ct-gc', 'nat-gc', 'port-manager', 'statistics-publisher', 'uplink-steering']

const LANE_FILES = ['flow-lane', 'lane-passes', 'flow-access']

const RIG_FILES = ['frame-source', 'chain-rig', 'memory-split', 'explain', 'run']

/** The benchmarks run in bundles: which module a function comes from, their source maps tell. */
function sourceOf({ url, lineNumber, columnNumber }: CallFrame): string {
  const entry = findSourceMap(url)?.findEntry(lineNumber, columnNumber)
  return entry !== undefined && 'originalSource' in entry ? entry.originalSource : url
}

/** Undefined where the caller has to be looked at. */
function partOf(callFrame: CallFrame): string | undefined {
  const { functionName } = callFrame
  const url = sourceOf(callFrame)
  const file = basename(url).replace(/\.[jt]s$/, '')
  if (RIG_FILES.includes(file)) return RIG
  if (functionName === '(garbage collector)') return 'garbage collection'
  if (LANE_FILES.includes(file)) return LANE_PASSES[functionName]
  if (url.includes('/pipeline/stages/')) return `stage ${file}`
  if (url.includes('/pipeline/entry/')) return `entry ${file}`
  if (file === 'parse') return 'pass 1: parse and hash'
  if (HOUSEKEEPING.includes(file)) return 'housekeeping'
  if (file === 'pipeline') return PIPELINE_PASSES[functionName] ?? 'pipeline: dispatch, monitor'
  if (file === 'burst-loop') return 'burst loop'
  return undefined
}

/** Microseconds by part. */
export function splitProfile(profile: CpuProfile): Map<string, number> {
  const parents = new Map<number, number>()
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  for (const { id, children = [] } of profile.nodes) for (const c of children) parents.set(c, id)
  const partById = new Map<number, string>()
  for (const { id } of profile.nodes) {
    let part: string | undefined
    for (let at: number | undefined = id; at !== undefined && part === undefined; ) {
      const node = nodes.get(at)
      part = node === undefined ? undefined : partOf(node.callFrame)
      at = parents.get(at)
    }
    partById.set(id, part ?? OTHER)
  }
  const times = new Map<string, number>()
  for (const [i, id] of profile.samples.entries()) {
    const part = partById.get(id) ?? OTHER
    times.set(part, (times.get(part) ?? 0) + (profile.timeDeltas[i] ?? 0))
  }
  return times
}
