/** The full chain in memory under V8's CPU profiler: nanoseconds per packet by part. */
import { Session } from 'node:inspector'
import { tuneV8 } from '../../src/engine/v8-flags.js'
import { ChainRig } from '../chain/chain-rig.js'
import { type CpuProfile, RIG, splitProfile } from './parts.js'

const SAMPLING_MICROSECONDS = 100
const PROFILED_FRAMES = { full: 12_000_000, quick: 4_000_000, smoke: 20_000 } as const
const WARM_UP_FRAMES = { full: 2_000_000, quick: 1_000_000, smoke: 1000 } as const
/** Of the run that is told of: the sampler, a thread, has had a core meanwhile. */
const MILLISECONDS_MIN = 100
/** Without the lane a packet takes several times as long. */
const SLOWER = 4

export interface Split {
  readonly title: string
  /** Part and nanoseconds per packet, the largest first. */
  readonly parts: readonly (readonly [name: string, nanoseconds: number])[]
}

/**
 * Runs both with the profiler on and tells of the second: V8 keeps what a profile needs only of code
 * that was compiled while somebody profiled. Everything happens on this thread, so the answers are
 * immediate.
 */
function profile(warmUp: () => void, run: () => void): CpuProfile {
  const session = new Session()
  let found: CpuProfile | undefined
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.setSamplingInterval', { interval: SAMPLING_MICROSECONDS })
  for (const part of [warmUp, run]) {
    session.post('Profiler.start')
    part()
    session.post('Profiler.stop', (error, answer) => {
      if (error === null) found = answer.profile as CpuProfile
    })
  }
  session.disconnect()
  if (found === undefined) throw new Error('V8 gave no profile')
  return found
}

export function splitInMemory(size: 'full' | 'quick' | 'smoke', flows: number): Split[] {
  tuneV8()
  return [true, false].map((repeatsFlows) => {
    const rig = new ChainRig('full', flows, { repeatsFlows })
    let frames = 0
    const wanted = PROFILED_FRAMES[size] / (repeatsFlows ? 1 : SLOWER)
    const times = splitProfile(
      profile(
        () => rig.prime(WARM_UP_FRAMES[size]),
        () => {
          const end = performance.now() + MILLISECONDS_MIN
          do {
            frames += rig.run(wanted)
          } while (performance.now() < end)
        },
      ),
    )
    times.delete(RIG)
    if (times.size === 0) throw new Error('no sample of the profile lies in the engine')
    const parts = [...times].map(([name, us]) => [name, (us * 1000) / frames] as const)
    parts.sort((a, b) => b[1] - a[1])
    const title = repeatsFlows ? 'with the flow lane' : 'every packet through the chain'
    return { title: `full chain in memory, ${flows} flows, ${title}`, parts }
  })
}
