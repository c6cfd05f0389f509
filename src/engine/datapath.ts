/**
 * The datapath of a node as one process: the worker threads that move frames, started, watched and
 * stopped from the main thread, which itself touches no frame: it keeps the maps of routes equal to
 * the kernel's tables. All it knows of the node it reads from the state directory.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { bundled } from '../base/bundle.js'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { DatapathMaps } from '../pipeline/datapath-maps.js'
import { FlowNews } from '../pipeline/flow-news.js'
import { teamMemory } from '../port/worker-team.js'
import { AnnouncerTask } from './announcer-task.js'
import {
  CONTROL_WORDS,
  Control,
  Order,
  stopWorker,
  type WorkerInput,
  type WorkerMessage,
} from './control.js'
import { FollowerWorkers } from './follower-workers.js'
import { HostPortTask } from './host-port-task.js'
import { IDLE_DEFAULTS, type IdleOptions } from './idle-strategy.js'
import { PortMtuTask } from './port-mtu-task.js'
import { RoutingTask } from './routing-task.js'
import { tuneV8 } from './v8-flags.js'
import { WakeLatency } from './wake-latency.js'
import { checkCores, leaveCores } from './worker-cores.js'

export interface DatapathOptions {
  /** Directory of the node's shared maps, /run/ringpath/<node>. */
  readonly stateDirectory: string
  readonly idle?: IdleOptions
  /** Worker threads: as many as `cores`, 1 unless given, at most as many as the maps were made for. */
  readonly workers?: number
  /** One for each worker, which runs on it, with the process's other threads elsewhere; the kernel chooses unless given. */
  readonly cores?: readonly number[] | undefined
  /**
   * Frames of each worker's UMEM; each queue keeps up to 2048 ready for receiving, all queues together half
   * of them.
   */
  readonly frameCount?: number
  /**
   * Let the kernel poll the devices itself for so long before a worker sleeps; 0, the default:
   * never.
   */
  readonly busyPollMicroseconds?: number
  /** Longest time that the machine's cores may take to wake (WakeLatency); as the kernel decides unless given. */
  readonly wakeLatencyMicroseconds?: number | undefined
  /**
   * Put the ports that the NAT uses on the kernel's `ip_local_reserved_ports`; true unless given.
   * Without masquerading nothing is written there.
   */
  readonly reservePorts?: boolean
  /** False: the code is not trained before the ports are attached; for debugging, and for tests. */
  readonly training?: boolean
  /** Gets everything ready but the ports, and waits for `go` or `takeOver`. */
  readonly standby?: boolean
  /**
   * Directory in a bpffs in which the devices' programs are pinned: they stay when the process ends.
   */
  readonly pinDirectory?: string
  readonly log?: (line: string) => void
  /** Called when the worker has shown no sign of life for `STALL_SECONDS`. */
  readonly stalled?: () => void
}

/** What came of a hand-over. */
export type TakeOver = Extract<WorkerMessage, { type: 'taken over' | 'not taken over' }>

/** A sleeping worker wakes ten times a second; a burst takes microseconds. */
const STALL_SECONDS = 5

const FRAME_COUNT_DEFAULT = 32_768
const WORKER_FILE = bundled(new URL('./datapath-worker.js', import.meta.url))

export class Datapath {
  readonly #control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4))
  readonly #worker: Worker
  readonly #followers: FollowerWorkers | undefined
  readonly #options: DatapathOptions
  readonly #wakeLatency: WakeLatency | undefined
  #tasks: readonly { close(): void }[] = []
  #routing: RoutingTask | undefined
  /** The worker has its ports, as far as it could get them. */
  #isStarted = false
  readonly #log: (line: string) => void
  #ready: Promise<void>
  /** Settles when the worker has ended: resolves after a clean stop, rejects with what broke it. */
  readonly ended: Promise<void>
  /** Frames handled, known after a clean stop. */
  frames = 0
  /** The process that has the ports now, once they have been handed over. */
  successor: number | undefined

  /** Resolves when a datapath that stands by has everything ready but the ports. */
  readonly standingBy: Promise<void>

  constructor(options: DatapathOptions) {
    this.#options = options
    this.#log = options.log ?? (() => {})
    const workers = checkedWorkers(options)
    const { cores, wakeLatencyMicroseconds: wake } = options
    if (cores !== undefined) checkCores(cores, workers)
    this.#wakeLatency = wake === undefined ? undefined : new WakeLatency(wake)
    const team = workers === 1 ? undefined : teamMemory(workers)
    const news = team && new SharedArrayBuffer(FlowNews.bytesFor(workers))
    const common = {
      stateDirectory: options.stateDirectory,
      isStandby: options.standby ?? false,
      isTrained: options.training ?? true,
      idle: options.idle ?? IDLE_DEFAULTS,
      frameCount: options.frameCount ?? FRAME_COUNT_DEFAULT,
      busyPollMicroseconds: options.busyPollMicroseconds ?? 0,
      pinDirectory: options.pinDirectory,
    }
    const control = this.#control.buffer as SharedArrayBuffer
    const places = { worker: 0, workers, team, news, core: cores?.[0] }
    const input: WorkerInput = { ...common, control, ...places }
    if (options.standby !== true) this.startTasks()
    tuneV8()
    if (cores !== undefined) leaveCores(cores)
    this.#worker = new Worker(WORKER_FILE, { workerData: input })
    if (team !== undefined && news !== undefined) {
      this.#followers = new FollowerWorkers(workers, team, { ...common, news }, cores, this.#log)
    }
    this.standingBy = new Promise((resolve) => {
      this.#worker.on('message', ({ type }: WorkerMessage) => {
        if (type === 'standby') resolve()
      })
    })
    this.#ready = this.#untilReady()
    this.ended = this.#untilEnded()
    // Whoever awaits `ready` sees the failure there; without this it would be an unhandled
    // rejection as well.
    this.ended.catch(() => {})
    if (options.stalled !== undefined) this.#watchHeartbeat(options.stalled)
  }

  /** Resolves when the worker polls its ports; rejects when it could not start. */
  get ready(): Promise<void> {
    return this.#ready
  }

  /** Lets a datapath that stands by take the ports. */
  go(): void {
    this.startTasks()
    this.#order(Order.ATTACH)
  }

  /**
   * Lets a datapath that stands by get the ports from the present one, which then ends. The tasks
   * are to be started once it has.
   */
  takeOver(): Promise<TakeOver> {
    const done = new Promise<TakeOver>((resolve) => {
      const answer = (message: WorkerMessage): void => {
        if (message.type !== 'taken over' && message.type !== 'not taken over') return
        this.#worker.off('message', answer)
        resolve(message)
      }
      this.#worker.on('message', answer)
    })
    this.#order(Order.TAKE_OVER)
    return done
  }

  #order(order: number): void {
    Atomics.store(this.#control, Control.GO, order)
    Atomics.notify(this.#control, Control.GO)
  }

  /** Before the first packet: routes of an earlier datapath may be wrong by now. */
  startTasks(): void {
    const { stateDirectory, reservePorts = true } = this.#options
    const maps = DatapathMaps.openFiles(stateDirectory)
    this.#routing = new RoutingTask(maps.routing, maps.ports, this.#log)
    if (this.#isStarted) this.#routing.started()
    this.#tasks = [
      this.#routing,
      new AnnouncerTask(maps, this.#log),
      new HostPortTask(maps.nat, reservePorts, this.#log),
      new PortMtuTask(maps.endpoints, maps.ports),
    ]
  }

  /** Ends the worker after its present burst, with all frames accounted for. */
  async stop(): Promise<void> {
    stopWorker(this.#control)
    this.#followers?.stop()
    await this.ended
  }

  #watchHeartbeat(stalled: () => void): void {
    const seen: number[] = []
    const missed: number[] = []
    const timer = setInterval(() => {
      const first = Atomics.load(this.#control, Control.HEARTBEAT)
      for (const [worker, beat] of [first, ...(this.#followers?.heartbeats ?? [])].entries()) {
        missed[worker] = beat === seen[worker] ? (missed[worker] ?? 0) + 1 : 0
        seen[worker] = beat
        // Before the first beat it is still starting, and whoever started it waits with a limit.
        if (beat !== 0 && missed[worker] === STALL_SECONDS) stalled()
      }
    }, 1_000)
    timer.unref()
  }

  async #untilReady(): Promise<void> {
    const worker = this.#worker
    await new Promise<void>((resolve, reject) => {
      worker.on('message', (message: WorkerMessage) => {
        if (message.type === 'ready') {
          this.#isStarted = true
          this.#routing?.started()
          resolve()
        } else if (message.type === 'prepared') this.#followers?.go()
        else if (message.type === 'log') this.#log(message.line)
        else if (message.type === 'stopped') this.frames = message.frames
        else if (message.type === 'handed over') {
          this.frames = message.frames
          this.successor = message.successor
        }
      })
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('the datapath worker ended before it was ready')))
    })
    await this.#followers?.ready()
  }

  async #untilEnded(): Promise<void> {
    const first = once(this.#worker, 'exit')
    // One that breaks ends all of them: its pods have nobody else.
    this.#followers?.ended.catch(() => this.stop()).catch(() => {})
    const [code] = await first
    this.#followers?.stop()
    await this.#followers?.ended
    this.frames += this.#followers?.frames ?? 0
    for (const task of this.#tasks) task.close()
    this.#wakeLatency?.close()
    if (code !== 0) throw new Error(`the datapath worker ended with code ${code}`)
  }
}

/** Throws ECONFIG_INVALID: each worker needs an event ring. */
function checkedWorkers({ cores, workers = cores?.length ?? 1, stateDirectory }: DatapathOptions) {
  const most = DatapathMaps.openFiles(stateDirectory).workers
  if (Number.isInteger(workers) && workers >= 1 && workers <= most) return workers
  throw new RingpathError(
    ErrorCode.CONFIG_INVALID,
    `workers: ${workers}, expected 1 to ${most}: so many the maps in ${stateDirectory} are for`,
  )
}
