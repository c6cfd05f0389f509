/** `ringpath demo` from its options: which world, on which screen, and what becomes of it. */
import { MonotonicClock } from '../base/clock.js'
import { clean, hold, keep } from './keep.js'
import { LiveWorld } from './live-world.js'
import { Screen, standardScreenSize } from './screen.js'
import { messageOf, show } from './show.js'
import { SimulatedWorld } from './simulation/simulated-world.js'
import { ExitCode } from './summary.js'
import type { World } from './world.js'

export interface DemoOptions {
  readonly seconds: number
  readonly simulate: boolean
  readonly keep: boolean
  readonly clean: boolean
  /** Set for the process that keeps the world: the screen of the one that started it. */
  readonly hold?: string
}

/** Returns the exit code; see summary.ts. */
export async function demo(options: DemoOptions): Promise<number> {
  const write = (text: string): void => {
    process.stdout.write(text)
  }
  if (options.clean) return clean(write)
  if (options.hold !== undefined)
    return hold(options, (screen, signal) => run(options, screen, signal))
  if (options.keep) return keep(options)
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => interrupt.abort())
  }
  // Nobody reads any more, as with `| head`: end in good order.
  process.stdout.on('error', () => interrupt.abort())
  const { code } = await run(options, new Screen(standardScreenSize(), write), interrupt.signal)
  return code
}

export interface Shown {
  readonly code: number
  /** The world, when it was to be kept and is fit for it. */
  readonly kept: World | undefined
}

async function run(options: DemoOptions, screen: Screen, interrupt: AbortSignal): Promise<Shown> {
  const { world, reason } = await createWorld(options.simulate)
  if (interrupt.aborted) {
    await world.stop()
    screen.print(['Interrupted before it began; nothing is left behind.'])
    return { code: ExitCode.INTERRUPTED, kept: undefined }
  }
  const { seconds } = options
  const isKept = options.hold !== undefined && !world.isSimulated
  const end = await show(world, screen, { seconds, reason, isKept, interrupt })
  if (options.hold !== undefined && world.isSimulated) {
    screen.print(['', 'There is nothing to keep of a simulation.'])
  }
  return { code: end.exitCode, kept: end.isStaying ? world : undefined }
}

/** Real pods where that is possible; what it lacks is told by the first line of the show. */
async function createWorld(isSimulationAsked: boolean) {
  if (isSimulationAsked) return { world: simulated(), reason: undefined }
  try {
    return { world: await LiveWorld.create(), reason: undefined }
  } catch (error) {
    return { world: simulated(), reason: reasonOf(error) }
  }
}

/** One line: what failed, and the last word of the program that did. */
function reasonOf(error: unknown): string {
  const lines = messageOf(error).split('\n')
  const said = lines.filter((line) => line !== '' && !/^\s+at /.test(line))
  return said.length > 1 ? `${said[0]} ${said.at(-1)}` : (said[0] ?? 'unknown')
}

const simulated = (): World => new SimulatedWorld(new MonotonicClock())
