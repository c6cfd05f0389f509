/**
 * Keeps a datapath running on a state directory: adopts the one that is there, starts one where
 * there is none, and another when it dies. The datapath is no child in spirit: it has a session of
 * its own and writes to a file, so that it outlives whoever started it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { Problem } from '../k8s/problem.js'
import { DatapathLink } from './liveness.js'
import { datapathDrift, datapathOptions } from './node-drift.js'
import { holderOf, Role } from './process-lock.js'
import { StallWatch } from './stall-watch.js'

/** The command alone: the whole command line takes a while to load. */
const MAIN_FILE = fileURLToPath(new URL('../cli/datapath-main.js', import.meta.url))
const LOG_NAME = 'datapath.log'
const READY_TIMEOUT_MILLISECONDS = 20_000
const CONNECT_MILLISECONDS = 5
const STOP_TIMEOUT_MILLISECONDS = 5_000
const TAKEOVER_MILLISECONDS_MAX = 5_000
const STANDBY_LOOK_MILLISECONDS = 2_000
/** After a datapath that died before it was ready: doubled each time, up to the last. */
const BACKOFF_MILLISECONDS = [100, 200, 400, 800, 1_600, 3_200, 5_000] as const
/** What of its log an error quotes. */
const QUOTED_BYTES = 2_000

export interface DatapathSettings {
  readonly idle: string
  readonly workers: number
  /** One for each worker; undefined: the kernel chooses. */
  readonly cores?: readonly number[] | undefined
  readonly frames: number
  readonly busyPollMicroseconds: number
  /** Longest time for a core to wake; undefined: the kernel decides. */
  readonly wakeLatencyMicroseconds?: number | undefined
  /** Synthetic frames before ports are attached. */
  readonly training: boolean
  /** Keep a second process that takes over when the first one ends. */
  readonly standby: boolean
  /** In a bpffs, for the devices' programs; undefined: they go with the datapath. */
  readonly pinDirectory: string | undefined
}

export interface SupervisorEvents {
  /** @param isAdopted it ran already; @param milliseconds since it was found missing */
  up(pid: number, isAdopted: boolean, milliseconds: number): void
  down(pid: number): void
  /** It hangs, and is killed. */
  stalled(pid: number, reason: string): void
  /** It has handed its ports to another one. */
  handedOver(pid: number, successor: number): void
  failed(error: Error): void
}

export interface DatapathStatus {
  /** Undefined while none runs. */
  readonly pid: number | undefined
  readonly version: string | undefined
  readonly isReady: boolean
  /** The process that takes over when this one ends; undefined while none is there. */
  readonly standbyPid: number | undefined
  /** Datapaths that died under this agent. */
  readonly deaths: number
  /** From the last death until frames flowed again. */
  readonly lastRepairMilliseconds: number | undefined
}

export class DatapathSupervisor {
  readonly #directory: string
  readonly #nodeName: string
  readonly #settings: DatapathSettings
  readonly #events: SupervisorEvents
  #link: DatapathLink | undefined
  #isReady = false
  #isStopping = false
  #deaths = 0
  #failures = 0
  #lastRepair: number | undefined
  #standbyTimer: NodeJS.Timeout | undefined
  /** Those that this agent started and that have not ended, by process id. */
  readonly #started = new Map<number, ChildProcess>()
  #stallWatch: StallWatch | undefined

  /** @param nodeName by which problems name the document */
  constructor(
    directory: string,
    settings: DatapathSettings,
    events: SupervisorEvents,
    nodeName = '',
  ) {
    this.#directory = directory
    this.#nodeName = nodeName
    this.#settings = settings
    this.#events = events
  }

  get status(): DatapathStatus {
    return {
      pid: this.#link?.pid,
      version: this.#link?.version,
      isReady: this.#isReady,
      standbyPid: holderOf(this.#directory, Role.STANDBY),
      deaths: this.#deaths,
      lastRepairMilliseconds: this.#lastRepair,
    }
  }

  /**
   * Resolves when frames flow; from then on it keeps them flowing.
   * @throws RingpathError PROCESS_START when a datapath cannot be started
   */
  async start(): Promise<void> {
    const began = performance.now()
    const found = await DatapathLink.connect(this.#directory)
    await this.#watch(found ?? (await this.#spawn()), found !== undefined, began)
  }

  /** Lets go of it; it runs on. */
  release(): void {
    this.#letGo()
    this.#link?.close()
  }

  /** Ends it in good order, or by force after five seconds; resolves when no process is left. */
  async stop(): Promise<void> {
    this.#letGo()
    const standby = holderOf(this.#directory, Role.STANDBY)
    if (standby !== undefined) signal(standby, 'SIGKILL')
    // It may not have been ready yet, and closes its socket before it is gone.
    const datapath = holderOf(this.#directory, Role.DATAPATH)
    if (datapath !== undefined) signal(datapath, 'SIGTERM')
    const deadline = performance.now() + STOP_TIMEOUT_MILLISECONDS
    while (this.#present.length > 0) {
      if (performance.now() > deadline) for (const pid of this.#present) signal(pid, 'SIGKILL')
      await sleep(CONNECT_MILLISECONDS)
    }
  }

  /** Who has a role goes on; who has none yet would not be found by whoever ends them. */
  #letGo(): void {
    this.#isStopping = true
    this.#stallWatch?.close()
    clearInterval(this.#standbyTimer)
    for (const child of this.#coming) child.kill('SIGKILL')
  }

  /** Processes that have a role. */
  get #present(): readonly number[] {
    const holders = [Role.DATAPATH, Role.STANDBY].map((role) => holderOf(this.#directory, role))
    return holders.filter((pid) => pid !== undefined)
  }

  /** Processes that were started and have no role yet. */
  get #coming(): readonly ChildProcess[] {
    // The one that was heard of has its role, even where the file that says so cannot be read.
    const present = [...this.#present, this.#link?.pid]
    return [...this.#started.values()].filter(({ pid = 0 }) => !present.includes(pid))
  }

  /** Fields of the document that the datapath was started with other values of. */
  get drift(): readonly Problem[] {
    return this.#link === undefined ? [] : this.#driftOf(this.#link.pid)
  }

  #driftOf(pid: number): readonly Problem[] {
    return datapathDrift(pid, this.#settings, this.#nodeName)
  }

  async #watch(link: DatapathLink, isAdopted: boolean, began: number): Promise<void> {
    this.#link = link
    const timer = setTimeout(() => link.close(), READY_TIMEOUT_MILLISECONDS)
    const isReady = await link.ready
    clearTimeout(timer)
    if (!isReady) {
      this.#link = undefined
      throw this.#startError()
    }
    this.#isReady = true
    this.#failures = 0
    const milliseconds = performance.now() - began
    this.#events.up(link.pid, isAdopted, milliseconds)
    this.#keepStandby()
    this.#stallWatch = new StallWatch(this.#directory, link.pid, (reason) => {
      this.#events.stalled(link.pid, reason)
      // Before another one begins: it must not wake up beside that.
      signal(link.pid, 'SIGKILL')
    })
    link.gone.then(() => this.#gone(link))
  }

  #gone({ pid, successor }: DatapathLink): void {
    this.#stallWatch?.close()
    this.#started.delete(pid)
    this.#link = undefined
    this.#isReady = false
    if (this.#isStopping) return
    const began = performance.now()
    if (successor !== undefined) {
      this.#events.handedOver(pid, successor)
      this.#repair(began, successor)
      return
    }
    this.#deaths++
    this.#events.down(pid)
    this.#repair(began).then(() => {
      this.#lastRepair = performance.now() - began
    })
  }

  /** @param next the process that has the ports already */
  async #repair(began: number, next?: number): Promise<void> {
    while (!this.#isStopping) {
      try {
        await this.#watch(await this.#successor(next), false, began)
        return
      } catch (error) {
        this.#events.failed(error as Error)
        const place = Math.min(this.#failures++, BACKOFF_MILLISECONDS.length - 1)
        await sleep(BACKOFF_MILLISECONDS[place] ?? 0)
      }
    }
  }

  /** The one that stood by, or a new one where there was none. */
  async #successor(next?: number): Promise<DatapathLink> {
    const standby = next ?? holderOf(this.#directory, Role.STANDBY)
    const deadline = performance.now() + TAKEOVER_MILLISECONDS_MAX
    while (standby !== undefined && performance.now() < deadline) {
      const link = await DatapathLink.connect(this.#directory)
      if (link !== undefined) return link
      await sleep(CONNECT_MILLISECONDS)
    }
    return this.#spawn()
  }

  /** Now, and whenever the one that stood by has taken over or died. */
  #keepStandby(): void {
    if (!this.#settings.standby) return
    clearInterval(this.#standbyTimer)
    const look = (): void => {
      const present = holderOf(this.#directory, Role.STANDBY)
      if (present === undefined && this.#isReady && this.#coming.length === 0)
        this.#launch(['--standby'])
      // Of an agent before, whose document said something else; the next look finds none.
      else if (present !== undefined && this.#driftOf(present).length > 0)
        signal(present, 'SIGKILL')
    }
    look()
    this.#standbyTimer = setInterval(look, STANDBY_LOOK_MILLISECONDS)
    this.#standbyTimer.unref()
  }

  async #spawn(): Promise<DatapathLink> {
    const child = this.#launch()
    let hasEnded = false
    child.once('exit', () => {
      hasEnded = true
    })
    const deadline = performance.now() + READY_TIMEOUT_MILLISECONDS
    while (!hasEnded && performance.now() < deadline) {
      const link = await DatapathLink.connect(this.#directory)
      if (link !== undefined) return link
      await sleep(CONNECT_MILLISECONDS)
    }
    throw this.#startError()
  }

  #launch(more: readonly string[] = []): ChildProcess {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    const log = openSync(join(this.#directory, LOG_NAME), 'a', 0o600)
    const args = [
      MAIN_FILE,
      '--state',
      this.#directory,
      ...more,
      ...datapathOptions(this.#settings),
    ]
    const stdio = ['ignore', log, log] as const
    const child = spawn(process.execPath, args, { stdio: [...stdio], detached: true, cwd: '/' })
    closeSync(log)
    const { pid } = child
    if (pid !== undefined) {
      this.#started.set(pid, child)
      child.once('exit', () => this.#started.delete(pid))
    }
    child.on('error', (error) => this.#events.failed(error))
    child.unref()
    return child
  }

  #startError(): RingpathError {
    const text = `the datapath did not start; it said:\n${endOf(join(this.#directory, LOG_NAME))}`
    return new RingpathError(ErrorCode.PROCESS_START, text)
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It is gone already.
  }
}

function endOf(path: string): string {
  try {
    const file = openSync(path, 'r')
    const { size } = fstatSync(file)
    const bytes = Buffer.alloc(Math.min(size, QUOTED_BYTES))
    readSync(file, bytes, 0, bytes.length, size - bytes.length)
    closeSync(file)
    return bytes.toString().trimEnd()
  } catch {
    return '(nothing)'
  }
}
