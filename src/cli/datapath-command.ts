/** `ringpath datapath`: runs a node's datapath in the foreground until SIGINT or SIGTERM. */

import { type Command, InvalidArgumentError, Option } from 'commander'
import { VERSION } from '../base/version.js'
import { LivenessServer } from '../daemon/liveness.js'
import { Role, takeRole } from '../daemon/process-lock.js'
import { Datapath } from '../engine/datapath.js'
import { IDLE_DEFAULTS, type IdleOptions } from '../engine/idle-strategy.js'

interface DatapathArguments {
  readonly state: string
  readonly idle: IdleOptions['mode']
  readonly frames: number
  readonly busyPoll: number
  readonly reservePorts: boolean
}

/** What `ringpath datapath` prints when frames flow; whoever starts it waits for this line. */
export const READY_LINE = 'datapath ready'

/** sysexits.h EX_SOFTWARE: the program itself is wrong. */
const EXIT_SOFTWARE = 70

const FRAMES_MIN = 1024
const FRAMES_MAX = 1 << 20
/** A second: what xdp-socket-napi accepts. */
const BUSY_POLL_MAX = 1_000_000

export function addDatapathCommand(program: Command): void {
  program
    .command('datapath')
    .description('run the datapath of a node in the foreground, on the maps of its state directory')
    .requiredOption('--state <directory>', 'state directory, usually /run/ringpath/<node>')
    .addOption(
      new Option('--idle <mode>', 'what an idle worker does: latency against CPU')
        .choices(['spin', 'adaptive', 'poll'])
        .default(IDLE_DEFAULTS.mode),
    )
    .option('--frames <count>', 'frames of packet memory', parseFrames, 32_768)
    .option(
      '--busy-poll <microseconds>',
      'let the kernel poll a device for so long before the worker sleeps (SO_BUSY_POLL)',
      parseMicroseconds,
      0,
    )
    .option(
      '--no-reserve-ports',
      'leave ip_local_reserved_ports alone: the node’s own sockets may get ports that the NAT uses',
    )
    .action(runDatapath)
}

function parseFrames(text: string): number {
  const frames = Number(text)
  if (Number.isInteger(frames) && frames >= FRAMES_MIN && frames <= FRAMES_MAX) return frames
  throw new InvalidArgumentError(`Expected a whole number from ${FRAMES_MIN} to ${FRAMES_MAX}.`)
}

function parseMicroseconds(text: string): number {
  const microseconds = Number(text)
  if (Number.isInteger(microseconds) && microseconds >= 0 && microseconds <= BUSY_POLL_MAX) {
    return microseconds
  }
  throw new InvalidArgumentError(`Expected a whole number from 0 to ${BUSY_POLL_MAX}.`)
}

async function runDatapath(options: DatapathArguments): Promise<void> {
  let liveness: LivenessServer | undefined
  try {
    takeRole(options.state, Role.DATAPATH)
    liveness = new LivenessServer(options.state, VERSION)
    const datapath = new Datapath({
      stateDirectory: options.state,
      idle: { ...IDLE_DEFAULTS, mode: options.idle },
      frameCount: options.frames,
      busyPollMicroseconds: options.busyPoll,
      reservePorts: options.reservePorts,
      log: (line) => console.log(line),
      stalled: () => {
        console.error('the worker stands still: ending, so that another datapath can take over')
        process.kill(process.pid, 'SIGKILL')
      },
    })
    const stop = (): void => {
      datapath.stop().catch(() => {})
    }
    process.once('SIGINT', stop)
    process.once('SIGTERM', stop)
    await datapath.ready
    liveness.ready()
    console.log(READY_LINE)
    await datapath.ended
    console.log(`datapath stopped: ${datapath.frames} frames handled, every frame accounted for`)
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = EXIT_SOFTWARE
  } finally {
    liveness?.close()
  }
}
