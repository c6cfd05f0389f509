/** `ringpath datapath`: runs a node's datapath in the foreground until SIGINT or SIGTERM. */

import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { VERSION } from '../base/version.js'
import { DatapathLink, LivenessServer } from '../daemon/liveness.js'
import { leaveRole, Role, takeRole } from '../daemon/process-lock.js'
import type { Datapath } from '../engine/datapath.js'
import { IDLE_DEFAULTS, type IdleOptions } from '../engine/idle-strategy.js'

interface DatapathArguments {
  readonly state: string
  readonly idle: IdleOptions['mode']
  readonly frames: number
  readonly busyPoll: number
  readonly standby: boolean
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
    .option('--standby', 'get ready, and take over when the present datapath ends', false)
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
    takeRole(options.state, options.standby ? Role.STANDBY : Role.DATAPATH)
    const { Datapath } = await import('../engine/datapath.js')
    const datapath = new Datapath({
      stateDirectory: options.state,
      standby: options.standby,
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
    if (options.standby) await untilMyTurn(datapath, options.state)
    liveness = new LivenessServer(options.state, VERSION)
    if (options.standby) datapath.go()
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

/** How often a place is tried for that a dying process may still have for a moment. */
const TURN_MILLISECONDS = 2
const TURN_MILLISECONDS_MAX = 2_000

/**
 * Resolves when no other datapath is there any more and this one has its role. A process that was
 * killed gives its devices back before it is gone from the table of processes.
 */
async function untilMyTurn(datapath: Datapath, stateDirectory: string): Promise<void> {
  await datapath.standingBy
  const present = await DatapathLink.connect(stateDirectory)
  console.log(present === undefined ? 'standing by for nobody' : `standing by for ${present.pid}`)
  await present?.gone
  const deadline = performance.now() + TURN_MILLISECONDS_MAX
  for (;;) {
    try {
      takeRole(stateDirectory, Role.DATAPATH)
      break
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(TURN_MILLISECONDS)
    }
  }
  leaveRole(stateDirectory, Role.STANDBY)
}
