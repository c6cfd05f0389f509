/**
 * The demonstration on real pods: namespaces, a datapath process on AF_XDP, programs nobody here
 * wrote.
 */
import * as fs from 'node:fs'
import { MonotonicClock } from '../base/clock.js'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { namespacesOf } from '../lab/run-record.js'
import { LivePrograms, missingPrograms } from './live-programs.js'
import { createLiveTopology, type LiveTopology, webDirectory } from './live-topology.js'
import type { Program } from './program.js'
import { type ProgramSet, programSet } from './program-set.js'
import { removeStateDirectory } from './state-directory.js'
import { WEB } from './topology.js'
import type { World, WorldEnd } from './world.js'

/** The datapath's last line (src/cli/datapath-command.ts). */
const LAST_LINE = /(\d+) frames handled, every frame accounted for/
const PROBLEM_LINES = 3

export class LiveWorld implements World {
  readonly isSimulated = false
  readonly clock = new MonotonicClock()
  readonly #topology: LiveTopology
  readonly #set: ProgramSet = programSet()
  readonly #programs: LivePrograms
  /** The datapath's exit code, null when a signal killed it; undefined while it runs. */
  #exitCode: number | null | undefined
  #end: Promise<WorldEnd> | undefined

  private constructor(topology: LiveTopology) {
    const { lab, pods, datapath } = topology
    this.#topology = topology
    this.#programs = new LivePrograms(lab, pods, this.#set)
    datapath.exited.then((code) => {
      this.#exitCode = code
    })
  }

  /** @throws RingpathError LAB_SETUP or PORT_ATTACH saying what is missing; nothing is left then */
  static async create(): Promise<LiveWorld> {
    const missing = missingPrograms()
    if (missing.length > 0) {
      const advice = 'scripts/setup.sh installs them'
      throw new RingpathError(
        ErrorCode.LAB_SETUP,
        `not installed: ${missing.join(', ')} (${advice})`,
      )
    }
    const world = new LiveWorld(await createLiveTopology())
    try {
      await world.#programs.serve(webDirectory(world.#topology.directory))
    } catch (error) {
      await world.stop()
      throw error
    }
    return world
  }

  get maps() {
    return this.#topology.maps
  }

  get portNames(): ReadonlyMap<number, string> {
    return this.#topology.portNames
  }

  get programs(): readonly Program[] {
    return Object.values(this.#set)
  }

  get facts(): string {
    const { maps, datapath, portNames } = this.#topology
    const reports = [...portNames.keys()].map((port) => maps.ports.report(port, datapath.pid))
    const xdp = reports.every(({ isNative }) => isNative) ? 'native XDP' : 'generic XDP'
    const copy = reports.every(({ isZeroCopy }) => isZeroCopy) ? 'zero copy' : 'copy mode'
    return `datapath pid ${datapath.pid}, ${xdp}, AF_XDP ${copy}`
  }

  get commands(): readonly string[] {
    const { pods } = this.#topology
    const url = WEB.address
    // A proxy of the environment is not in the pods.
    const curl = /_proxy=/i.test(
      Object.keys(process.env)
        .map((key) => `${key}=`)
        .join(),
    )
      ? "curl --noproxy '*'"
      : 'curl'
    return [
      `ip netns exec ${pods.client.netns} ${curl} ${url}`,
      `ip netns exec ${pods.client.netns} ping -c 3 ${WEB.address}`,
      `ip netns exec ${pods.node.netns} ${curl} ${url}`,
      `ip netns exec ${pods.intruder.netns} ${curl} --max-time 3 ${url}   # dropped with 133`,
    ]
  }

  get problem(): string | undefined {
    if (this.#exitCode === undefined || this.#end !== undefined) return undefined
    const { output, pid } = this.#topology.datapath
    if (this.#exitCode === null) return `process ${pid} was killed`
    const said = output.slice(-PROBLEM_LINES).join(' | ')
    return `process ${pid} ended with code ${this.#exitCode}: ${said}`
  }

  run(signal: AbortSignal, showSeconds: number): Promise<void> {
    return this.#programs.run(signal, showSeconds)
  }

  stop(): Promise<WorldEnd> {
    this.#end ??= this.#stop()
    return this.#end
  }

  async #stop(): Promise<WorldEnd> {
    const { lab, datapath, directory } = this.#topology
    const code = await datapath.stop()
    const match = LAST_LINE.exec(datapath.output.join('\n'))
    await lab.close()
    removeStateDirectory(lab.id)
    return {
      frames: Number(match?.[1] ?? 0),
      isEveryFrameAccounted: code === 0 && match !== null,
      leftBehind: [...namespacesOf(lab.id), ...(fs.existsSync(directory) ? [directory] : [])],
    }
  }
}
