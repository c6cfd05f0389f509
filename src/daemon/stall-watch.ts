/**
 * Notices a datapath whose worker hangs: its count of signs of life stands still (engine/heartbeat.ts)
 * although it had the processor for long enough, or it is stopped, or it sleeps where it should not.
 * A worker that merely waits for a processor, on a busy machine, is left alone: to kill it would
 * make things worse. So is one that a debugger holds.
 */
import { readFileSync } from 'node:fs'
import { type Beat, HeartbeatReader } from '../engine/heartbeat.js'

const LOOK_MILLISECONDS = 100
/** A step of housekeeping takes some hundred microseconds; attaching a device ten milliseconds. */
const BUSY_MILLISECONDS_MAX = 400
const STOPPED_MILLISECONDS_MAX = 300
/** A system call on the way, such as attaching a device, may wait for the kernel's locks. */
const ASLEEP_MILLISECONDS_MAX = 3_000

/** What the kernel says of a thread; times in milliseconds since it began. */
export interface ThreadTimes {
  readonly isStopped: boolean
  /** A debugger holds it. */
  readonly isTraced: boolean
  readonly running: number
  /** Ready to run, with no processor. */
  readonly waiting: number
}

interface Since extends ThreadTimes {
  readonly beats: number
  readonly at: number
}

/** Judges one worker after another; knows no clock and no file, so that a test can be both. */
export class StallJudge {
  readonly #since = new Map<number, Since>()

  /** Why the worker hangs, or undefined. @param at milliseconds of a steady clock */
  judge({ thread, beats }: Beat, times: ThreadTimes, at: number): string | undefined {
    const since = this.#since.get(thread)
    if (since === undefined || since.beats !== beats) {
      this.#since.set(thread, { ...times, beats, at })
      return undefined
    }
    const elapsed = at - since.at
    const running = times.running - since.running
    const asleep = elapsed - running - (times.waiting - since.waiting)
    if (times.isStopped && elapsed > STOPPED_MILLISECONDS_MAX) return 'it is stopped'
    if (running > BUSY_MILLISECONDS_MAX)
      return `it ran for ${Math.round(running)} ms without a beat`
    if (!times.isTraced && asleep > ASLEEP_MILLISECONDS_MAX) {
      return `it slept for ${Math.round(asleep)} ms without a beat`
    }
    return undefined
  }
}

export class StallWatch {
  readonly #judge = new StallJudge()
  readonly #reader: HeartbeatReader
  readonly #timer: NodeJS.Timeout
  readonly #pid: number

  /** @param stalled called once, with the reason */
  constructor(stateDirectory: string, pid: number, stalled: (reason: string) => void) {
    this.#reader = new HeartbeatReader(stateDirectory)
    this.#pid = pid
    this.#timer = setInterval(() => {
      const reason = this.#look()
      if (reason === undefined) return
      this.close()
      stalled(reason)
    }, LOOK_MILLISECONDS)
    this.#timer.unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): string | undefined {
    for (const beat of this.#reader.read()) {
      const times = threadTimes(this.#pid, beat.thread)
      // It is another process's, which has ended or is about to begin.
      if (times === undefined) continue
      const reason = this.#judge.judge(beat, times, performance.now())
      if (reason !== undefined) return reason
    }
    return undefined
  }
}

const NANOSECONDS_PER_MILLISECOND = 1e6

/** proc(5): the state of `stat`, and the first two numbers of `schedstat`. */
function threadTimes(pid: number, thread: number): ThreadTimes | undefined {
  try {
    const directory = `/proc/${pid}/task/${thread}`
    const stat = readFileSync(`${directory}/stat`, 'latin1')
    const [running, waiting] = readFileSync(`${directory}/schedstat`, 'latin1').split(' ')
    const state = stat.charAt(stat.lastIndexOf(')') + 2)
    return {
      isStopped: state === 'T',
      isTraced: state === 't',
      running: Number(running) / NANOSECONDS_PER_MILLISECOND,
      waiting: Number(waiting) / NANOSECONDS_PER_MILLISECOND,
    }
  } catch {
    return undefined
  }
}
