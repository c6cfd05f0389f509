/**
 * Which part of a packet's way a sample of V8's CPU profile belongs to: a pass of the flow lane, a
 * pass of the pipeline, or a stage, with all that it calls. Read from the innermost function
 * outward. V8 knows little of what it inlined: such time is told with the function around it.
 */
import { basename } from 'node:path'

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string }
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

const LANE_PASSES: Readonly<Record<string, string>> = {
  '#touchFrames': 'lane: touch the frames',
  '#placeFrames': 'lane: classify, hash, touch the flows',
  '#repeatFrames': 'lane: find, rewrite, count',
  // V8 puts the pass that repeats, and those that do little, into it.
  run: 'lane: find, rewrite, count',
  learn: 'lane: learn',
  step: 'housekeeping',
}
const PIPELINE_PASSES: Readonly<Record<string, string>> = {
  '#touchConnections': 'pass 2: touch the connections',
}
const HOUSEKEEPING = ['ct-gc', 'nat-gc', 'port-manager', 'statistics-publisher', 'uplink-steering']

const RIG_FILES = ['frame-source', 'chain-rig', 'memory-split', 'explain', 'run']

/** Undefined where the caller has to be looked at. */
function partOf({ functionName, url }: ProfileNode['callFrame']): string | undefined {
  const file = basename(url, '.js')
  if (RIG_FILES.includes(file)) return RIG
  if (functionName === '(garbage collector)') return 'garbage collection'
  if (file === 'flow-lane') return LANE_PASSES[functionName]
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
