/**
 * Several contenders, each ready on a track of its own, of which one at a time is awake and
 * measured. They take turns in short windows: a machine that is slow for a second is slow for one
 * window of one of them, and the median of many rounds does not see it.
 */
import { threadCores } from 'xdp-socket-napi'
import { leaveCores, useCores } from '../../src/engine/worker-cores.js'
import { Lab } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import type { SendReport } from '../../src/pktgen/sender.js'
import type { Sink } from '../../src/pktgen/sink.js'
import { CpuShare } from '../lib/cpu-share.js'
import type { Contender, Running } from './contender.js'
import { Track, WORKER_CORE } from './track.js'
import { type FrameSize, type Reading, startSink, type Traffic, TrafficRun } from './traffic.js'

/** From waking both to the window: a call into the kernel's generator takes some 25 ms to begin. */
const SETTLE_MILLISECONDS = 120
/** Longer than any contest; the lab ends the generators. */
const LOAD_SECONDS = 3600
/** Without a frame that arrives: those that were on their way have, then. */
const DRAIN_MILLISECONDS = 50
/** For what is on rings; more only reaches one that something else keeps from its core. */
const DRAINS_MAX = 10

/**
 * Below it something else took the forwarder's or the generator's core: the run is made again, so
 * many times at most.
 */
const CPU_SHARE_MIN = 0.93
export const TRIES = 3

export interface Entrant {
  readonly contender: Contender
  readonly track: Track
  readonly running: Running
  readonly sink: Sink | undefined
}

export interface Measured {
  readonly framesPerSecond: number
  readonly bytesPerSecond: number
  /** Of the forwarder's or the generator's core, whichever had less. */
  readonly cpuShare: number
}

/** Frames. */
export interface Loss {
  readonly sent: number
  readonly lost: number
}

export class Contest {
  readonly lab: Lab
  readonly entrants = new Map<string, Entrant>()
  /** Why a contender does not take part. */
  readonly absent = new Map<string, string>()
  readonly #log: (line: string) => void
  readonly #loads = new Map<string, TrafficRun>()
  /** Those that have been awake: frames may lie on their rings. */
  readonly #used = new Set<Entrant>()

  private constructor(lab: Lab, log: (line: string) => void) {
    this.lab = lab
    this.#log = log
  }

  /** Those that cannot run are told in `absent`. */
  static async open(
    contenders: readonly Contender[],
    log: (line: string) => void,
  ): Promise<Contest> {
    const contest = new Contest(await Lab.create({ name: 'bench' }), log)
    try {
      // Namespaces and devices all at once, then one after another what shall run in them.
      const tracks = await Promise.all(
        contenders.map(({ track }, index) => Track.create(contest.lab, `t${index}`, track)),
      )
      for (const [index, contender] of contenders.entries()) {
        await contest.#enter(contender, tracks[index] as Track)
      }
      return contest
    } catch (error) {
      await contest.close()
      throw error
    }
  }

  async #enter(contender: Contender, track: Track): Promise<void> {
    const { name } = contender
    const problem = await contender.problem()
    if (problem !== undefined) return this.#leaveOut(name, problem)
    const others = new Set(this.lab.processes)
    let running: Running
    try {
      running = await contender.start(track)
    } catch (error) {
      // Half of it may run, and spin on the core that the others are measured on.
      for (const process of this.lab.processes) if (!others.has(process)) process.kill()
      return this.#leaveOut(name, (error as Error).message)
    }
    running.process?.kill('SIGSTOP')
    const ends = { receiver: { ns: track.receiver, device: 'eth0' }, uplink: track.peer }
    const sink = running.sink === 'none' ? undefined : await startSink(ends[running.sink])
    this.entrants.set(name, { contender, track, running, sink })
  }

  #leaveOut(name: string, reason: string): void {
    this.absent.set(name, reason)
    this.#log(`${name}: not run: ${reason}`)
  }

  entrant(name: string): Entrant {
    const entrant = this.entrants.get(name)
    if (entrant === undefined) throw new Error(`${name} takes no part`)
    return entrant
  }

  /** Wakes it for as long as `work` takes. */
  async awake<T>(entrant: Entrant, work: () => Promise<T>): Promise<T> {
    const { process } = entrant.running
    process?.kill('SIGCONT')
    try {
      return await work()
    } finally {
      process?.kill('SIGSTOP')
      this.#used.add(entrant)
    }
  }

  /**
   * A generator at full load for each contender, asleep until it is measured. Replaces those that
   * there are.
   */
  async startLoad(frameBytes: FrameSize, flows: number): Promise<void> {
    await this.stopLoad()
    for (const [name, { track, running }] of this.entrants) {
      const traffic = { frameBytes, flows, rate: 0, seconds: LOAD_SECONDS }
      const load = new TrafficRun(track, running.target, traffic)
      await load.process.waitForOutput(/ready/)
      load.process.kill('SIGSTOP')
      this.#loads.set(name, load)
    }
  }

  async stopLoad(): Promise<void> {
    const ended = [...this.#loads.values()].map(({ process }) => process.stop('SIGKILL'))
    this.#loads.clear()
    await Promise.all(ended)
  }

  /** Full load on each in turn, until it is as fast as it gets. */
  async warmUp(share = 1): Promise<void> {
    for (const [name, entrant] of this.entrants) {
      const milliseconds = Math.max(100, entrant.contender.warmUpMilliseconds * share)
      await this.#loaded(name, entrant, () => pause(milliseconds))
    }
  }

  /** Wakes it and its generator for as long as `work` takes. */
  #loaded<T>(name: string, entrant: Entrant, work: (load: LabProcess) => Promise<T>): Promise<T> {
    const load = this.#loads.get(name)
    if (load === undefined) throw new Error('no load has been started')
    return this.awake(entrant, async () => {
      load.process.kill('SIGCONT')
      try {
        return await work(load.process)
      } finally {
        load.process.kill('SIGSTOP')
      }
    })
  }

  /** Sends, and waits until all has been sent. The contender has to be awake. */
  send(entrant: Entrant, traffic: Traffic): Promise<SendReport> {
    return new TrafficRun(entrant.track, entrant.running.target, traffic).sent()
  }

  read(entrant: Entrant): Promise<Reading> {
    const { running, sink } = entrant
    if (sink !== undefined) return sink.read()
    if (running.read === undefined) throw new Error('no sink, and no counter of its own')
    return running.read()
  }

  /**
   * What it carries of full load; made again when it did not have its core, or the generator had not begun.
   *
   * @throws Error when not one frame arrived in any try
   */
  async measure(name: string, windowMilliseconds: number): Promise<Measured> {
    let best = await this.#measureOnce(name, windowMilliseconds)
    for (let again = 1; isDisturbed(best) && again < TRIES; again++) {
      const next = await this.#measureOnce(name, windowMilliseconds)
      if (best.framesPerSecond === 0 || isBetter(next, best)) best = next
    }
    if (best.framesPerSecond > 0) return best
    throw new Error(`${name} carried nothing at full load`)
  }

  #measureOnce(name: string, windowMilliseconds: number): Promise<Measured> {
    const entrant = this.entrant(name)
    const { running } = entrant
    return this.#loaded(name, entrant, async (load) => {
      await pause(SETTLE_MILLISECONDS)
      await running.begin?.()
      const processes = [load, ...(running.process === undefined ? [] : [running.process])]
      const cpu = new CpuShare(processes.map(({ pid }) => pid))
      const first = await this.read(entrant)
      await pause(windowMilliseconds)
      const last = await this.read(entrant)
      const cpuShare = cpu.end()
      const elapsed = (last.nanoseconds - first.nanoseconds) / 1e9
      return {
        framesPerSecond: (last.frames - first.frames) / elapsed,
        bytesPerSecond: (last.bytes - first.bytes) / elapsed,
        cpuShare,
      }
    })
  }

  /**
   * Sends at a rate, and tells what did not arrive; the sink then knows of these frames alone. Made
   * again when more arrived: something kept frames of the time before for longer than is waited for them.
   */
  async loss(name: string, traffic: Traffic): Promise<Loss> {
    const entrant = this.entrant(name)
    for (let again = 1; ; again++) {
      const loss = await aside(() => this.#lossOnce(entrant, traffic))
      if (loss.lost >= 0) return loss
      const what = `${name}: ${-loss.lost} frames more arrived than were sent`
      if (again === TRIES) throw new Error(what)
      this.#log(`${what}; again`)
    }
  }

  /**
   * Frames of the time before are waited for first: one that was put to sleep at full load has its rings
   * full. One that was never awake has none, and its first moment may be what is measured.
   */
  #lossOnce(entrant: Entrant, traffic: Traffic): Promise<Loss> {
    const isFresh = !this.#used.has(entrant)
    return this.awake(entrant, async () => {
      if (!isFresh) await this.#drain(entrant)
      await entrant.sink?.reset()
      const first = await this.read(entrant)
      const { frames: sent } = await this.send(entrant, traffic)
      const last = await this.#drain(entrant)
      return { sent, lost: sent - (last.frames - first.frames) }
    })
  }

  /** Waits until no more frames arrive. */
  async #drain(entrant: Entrant): Promise<Reading> {
    let last = await this.read(entrant)
    for (let drain = 0; drain < DRAINS_MAX; drain++) {
      await pause(DRAIN_MILLISECONDS)
      const now = await this.read(entrant)
      if (now.frames === last.frames) return now
      last = now
    }
    return last
  }

  /** Ends all contenders and removes everything. */
  async close(): Promise<void> {
    try {
      await this.stopLoad()
      const runnings = [...this.entrants.values()].map(({ running }) => running)
      for (const { process } of runnings) process?.kill('SIGCONT')
      const sinks = [...this.entrants.values()].map(({ sink }) => sink?.close())
      const ends = await Promise.allSettled([...runnings.map((each) => each.stop()), ...sinks])
      for (const end of ends) if (end.status === 'rejected') this.#log(String(end.reason))
    } finally {
      await this.lab.close()
    }
  }
}

export const isDisturbed = ({ cpuShare, framesPerSecond }: Measured): boolean =>
  cpuShare < CPU_SHARE_MIN || framesPerSecond === 0

const isBetter = (one: Measured, other: Measured): boolean =>
  one.framesPerSecond > 0 && one.cpuShare > other.cpuShare

export const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Keeps the harness off the worker's core meanwhile: a millisecond of it is a trial's p99.9. */
async function aside<T>(work: () => Promise<T>): Promise<T> {
  const cores = threadCores()
  leaveCores([WORKER_CORE])
  try {
    return await work()
  } finally {
    useCores(cores)
  }
}
