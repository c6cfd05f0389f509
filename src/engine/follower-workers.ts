/**
 * The worker threads of a datapath beside its first one, from its main thread: started, let go when
 * the first one has prepared the maps, watched and stopped.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { bundled } from '../base/bundle.js'
import type { TeamMemory } from '../port/worker-team.js'
import {
  CONTROL_WORDS,
  Control,
  type FollowerInput,
  stopWorker,
  type WorkerMessage,
} from './control.js'

const WORKER_FILE = bundled(new URL('./follower-worker.js', import.meta.url))

interface Follower {
  readonly control: Int32Array
  readonly worker: Worker
  readonly ready: Promise<void>
  readonly exited: Promise<void>
}

export class FollowerWorkers {
  readonly #followers: readonly Follower[]
  readonly #log: (line: string) => void
  #isStopping = false
  /** Frames handled, known after a clean stop. */
  frames = 0
  /** Rejects when one of them ends in any other way than by `stop`; resolves when all have. */
  readonly ended: Promise<void>

  /** @param input what the first worker is started with */
  constructor(
    workers: number,
    team: TeamMemory,
    input: Omit<FollowerInput, 'control' | 'team' | 'place' | 'worker' | 'core'>,
    cores: readonly number[] | undefined,
    log: (line: string) => void,
  ) {
    this.#log = log
    this.#followers = Array.from({ length: workers - 1 }, (_, i) => {
      const place = { index: i + 1, of: workers }
      return this.#start({ ...input, team, place, worker: i + 1, core: cores?.[i + 1] })
    })
    this.ended = Promise.all(this.#followers.map(({ exited }) => exited)).then(() => {})
    this.ended.catch(() => {})
  }

  /** The first worker has taken over what an earlier datapath left. */
  go(): void {
    for (const { control } of this.#followers) {
      Atomics.store(control, Control.GO, 1)
      Atomics.notify(control, Control.GO)
    }
  }

  /** Resolves when all poll what the first worker has attached. */
  async ready(): Promise<void> {
    await Promise.all(this.#followers.map(({ ready }) => ready))
  }

  stop(): void {
    if (this.#isStopping) return
    this.#isStopping = true
    for (const { control } of this.#followers) {
      stopWorker(control)
    }
  }

  get heartbeats(): readonly number[] {
    return this.#followers.map(({ control }) => Atomics.load(control, Control.HEARTBEAT))
  }

  #start(input: Omit<FollowerInput, 'control'>): Follower {
    const control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4))
    const workerData: FollowerInput = { ...input, control: control.buffer as SharedArrayBuffer }
    const worker = new Worker(WORKER_FILE, { workerData })
    const ready = new Promise<void>((resolve, reject) => {
      worker.on('message', (message: WorkerMessage) => {
        if (message.type === 'ready') resolve()
        else if (message.type === 'log') this.#log(message.line)
        else if (message.type === 'stopped') this.frames += message.frames
      })
      worker.once('error', reject)
      worker.once('exit', () =>
        reject(new Error(`worker ${input.worker} ended before it was ready`)),
      )
    })
    ready.catch(() => {})
    const exited = untilExited(worker, input.worker)
    exited.catch(() => {})
    return { control, worker, ready, exited }
  }
}

async function untilExited(worker: Worker, number: number): Promise<void> {
  const [code] = await once(worker, 'exit')
  if (code !== 0) throw new Error(`worker ${number} of the datapath ended with code ${code}`)
}
