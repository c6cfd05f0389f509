/** `ringpath datapath`: runs a node's datapath in the foreground until SIGINT or SIGTERM. */

import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { CORES_MAX, preparePinDirectory, XdpErrorCode } from 'xdp-socket-napi'
import { WORKERS_MAX } from '../base/limits.js'
import { VERSION } from '../base/version.js'
import { noteHandover } from '../daemon/handover-note.js'
import { DatapathLink, LivenessServer } from '../daemon/liveness.js'
import { notePins } from '../daemon/pins-note.js'
import { leaveRole, markReady, Role, takeRole } from '../daemon/process-lock.js'
import type { Datapath, DatapathOptions } from '../engine/datapath.js'
import { IDLE_DEFAULTS, type IdleOptions } from '../engine/idle-strategy.js'
import { ExitCode } from './client.js'

interface DatapathArguments {
  readonly state: string
  readonly idle: IdleOptions['mode']
  readonly frames: number
  readonly workers?: number
  readonly cores?: readonly number[]
  readonly busyPoll: number
  readonly wakeLatency?: number
  readonly standby: boolean
  readonly reservePorts: boolean
  readonly pin?: string
  readonly training: boolean
}

/** What `ringpath datapath` prints when frames flow; whoever starts it waits for this line. */
export const READY_LINE = 'datapath ready'

/** sysexits.h EX_SOFTWARE: the program itself is wrong, as where an invariant is broken. */
const EXIT_SOFTWARE = 70

const FRAMES_MIN = 1024
const FRAMES_MAX = 1 << 20
/** A second: of busy polling what xdp-socket-napi accepts, and longer than any core sleeps. */
const MICROSECONDS_MAX = 1_000_000

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
    .option(
      '--workers <count>',
      'worker threads, as many as --cores or 1 unless given; the maps are for some number of them',
      parseWorkers,
    )
    .option(
      '--cores <list>',
      'a core for each worker, such as 2,3; all else of the process runs on the others',
      parseCores,
    )
    .option('--frames <count>', 'frames of packet memory of each worker', parseFrames, 32_768)
    .option(
      '--busy-poll <microseconds>',
      'let the kernel poll a device for so long before the worker sleeps (SO_BUSY_POLL)',
      parseMicroseconds,
      0,
    )
    .option(
      '--wake-latency <microseconds>',
      'longest time for a core to wake, for all cores of the machine; 0: idle ones do not halt',
      parseMicroseconds,
    )
    .option(
      '--no-reserve-ports',
      'leave ip_local_reserved_ports alone: the node’s own sockets may get ports that the NAT uses',
    )
    .option('--no-training', 'attach the ports at once, with code that is not compiled yet')
    .option(
      '--standby',
      'get ready, and take over when the present datapath ends, or get its sockets at SIGUSR2',
      false,
    )
    .option(
      '--pin <directory>',
      'directory in a bpffs for the devices’ programs: pods stay closed when the process ends',
    )
    .action(runDatapath)
}

function parseWorkers(text: string): number {
  const workers = Number(text)
  if (Number.isInteger(workers) && workers >= 1 && workers <= WORKERS_MAX) return workers
  throw new InvalidArgumentError(`Expected a whole number from 1 to ${WORKERS_MAX}.`)
}

function parseCores(text: string): number[] {
  const cores = text.split(',').map((core) => (/^\d+$/.test(core) ? Number(core) : Number.NaN))
  if (cores.every((core) => core < CORES_MAX)) return cores
  throw new InvalidArgumentError(
    `Expected numbers of cores, from 0 to ${CORES_MAX - 1}, and commas.`,
  )
}

function parseFrames(text: string): number {
  const frames = Number(text)
  if (Number.isInteger(frames) && frames >= FRAMES_MIN && frames <= FRAMES_MAX) return frames
  throw new InvalidArgumentError(`Expected a whole number from ${FRAMES_MIN} to ${FRAMES_MAX}.`)
}

function parseMicroseconds(text: string): number {
  const microseconds = Number(text)
  if (Number.isInteger(microseconds) && microseconds >= 0 && microseconds <= MICROSECONDS_MAX) {
    return microseconds
  }
  throw new InvalidArgumentError(`Expected a whole number from 0 to ${MICROSECONDS_MAX}.`)
}

async function runDatapath(options: DatapathArguments): Promise<void> {
  const { state, standby } = options
  let liveness: LivenessServer | undefined
  try {
    takeRole(state, standby ? Role.STANDBY : Role.DATAPATH)
    const { Datapath } = await import('../engine/datapath.js')
    const datapath = new Datapath(optionsOf(options))
    const stop = (): void => {
      datapath.stop().catch(() => {})
    }
    process.once('SIGINT', stop)
    process.once('SIGTERM', stop)
    const hasPorts = standby && (await untilMyTurn(datapath, state))
    liveness = new LivenessServer(state, VERSION)
    if (hasPorts) datapath.startTasks()
    else if (standby) datapath.go()
    await datapath.ready
    liveness.ready()
    console.log(READY_LINE)
    await datapath.ended
    const { frames, successor } = datapath
    if (successor === undefined) {
      console.log(`datapath stopped: ${frames} frames handled, every frame accounted for`)
      return
    }
    liveness.handedOver(successor)
    await liveness.close()
    leaveRole(state, Role.DATAPATH)
    console.log(`handed over to ${successor}: ${frames} frames handled, every frame accounted for`)
  } catch (error) {
    console.error(error instanceof Error ? `ringpath: ${failureText(state, error)}` : error)
    process.exitCode = isExpected(error) ? ExitCode.FAILED : EXIT_SOFTWARE
  } finally {
    await liveness?.close()
  }
}

/** What an operator can meet has a code (docs/errors.md), also when it comes from a worker. */
function isExpected(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
}

function failureText(stateDirectory: string, error: Error): string {
  const { code, errno } = error as NodeJS.ErrnoException
  const { EACCES, EPERM, ENOENT } = constants.errno
  const number = Math.abs(errno ?? 0)
  const isRefused = number === EACCES || number === EPERM || code === XdpErrorCode.PERMISSION
  if (isRefused && process.geteuid?.() !== 0) {
    return `${stateDirectory}: a datapath needs root: run it with sudo (${error.message})`
  }
  const isMissing = code === XdpErrorCode.SHARED_MEMORY && number === ENOENT
  if (!isMissing) return error.message
  const makeThem = 'the agent makes them, by `ringpath agent --config FILE`'
  return `${stateDirectory}: no maps of a node: ${makeThem} (${error.message})`
}

function optionsOf(options: DatapathArguments): DatapathOptions {
  const { pin, workers, cores } = options
  const log = (line: string): void => console.log(line)
  return {
    stateDirectory: options.state,
    standby: options.standby,
    idle: { ...IDLE_DEFAULTS, mode: options.idle },
    ...(workers === undefined ? {} : { workers }),
    cores,
    frameCount: options.frames,
    busyPollMicroseconds: options.busyPoll,
    wakeLatencyMicroseconds: options.wakeLatency,
    reservePorts: options.reservePorts,
    training: options.training,
    ...(pin === undefined ? {} : pinned(options.state, pin, log)),
    log,
    stalled: () => {
      console.error('the worker stands still: ending, so that another datapath can take over')
      process.kill(process.pid, 'SIGKILL')
    },
  }
}

/** Where nothing can be pinned, programs go with the process: closed pods, by no program. */
function pinned(
  stateDirectory: string,
  directory: string,
  log: (line: string) => void,
): { pinDirectory?: string } {
  try {
    preparePinDirectory(directory)
    notePins(stateDirectory, directory)
    return { pinDirectory: directory }
  } catch (error) {
    log(`programs are not pinned: ${error instanceof Error ? error.message : String(error)}`)
    return {}
  }
}

/** How often a place is tried for that a dying process may still have for a moment. */
const TURN_MILLISECONDS = 2
const TURN_MILLISECONDS_MAX = 5_000

/**
 * Resolves when no other datapath is there any more and this one has its role: with true when it
 * has the other's ports, which it asks for at SIGUSR2. That the other one handed them over does not
 * say so: it may have failed here afterwards. A process that was killed gives its devices back
 * before it is gone from the table of processes.
 */
async function untilMyTurn(datapath: Datapath, stateDirectory: string): Promise<boolean> {
  await datapath.standingBy
  const present = await DatapathLink.connect(stateDirectory)
  console.log(present === undefined ? 'standing by for nobody' : `standing by for ${present.pid}`)
  let attempt = Promise.resolve(false)
  const handedOver = new Promise<boolean>((resolve) => {
    process.on('SIGUSR2', async () => {
      attempt = takesOver(datapath, stateDirectory, present?.pid)
      if (await attempt) resolve(true)
    })
  })
  markReady(stateDirectory, Role.STANDBY)
  const gone = present?.gone.then(() => attempt) ?? false
  const hasPorts = await Promise.race([handedOver, gone])
  present?.close()
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
  return hasPorts
}

async function takesOver(
  datapath: Datapath,
  stateDirectory: string,
  from: number | undefined,
): Promise<boolean> {
  const result = await datapath.takeOver()
  noteHandover(stateDirectory, { pid: process.pid, from, ...result })
  if (result.type === 'taken over') {
    const milliseconds = result.silentMilliseconds.toFixed(2)
    console.log(`took over ${result.ports} ports from ${from}: silent for ${milliseconds} ms`)
    return true
  }
  console.log(`not taken over from ${from}: ${result.reason}`)
  return false
}
