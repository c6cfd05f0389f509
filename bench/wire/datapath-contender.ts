/**
 * The product itself: `ringpath datapath` on a state directory, as an agent starts it, on the
 * worker's core.
 */
import { fileURLToPath } from 'node:url'
import type { IdleOptions } from '../../src/engine/idle-strategy.js'
import { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import type { BenchOptions } from '../lib/benchmark.js'
import { type ChainName, destinationOf, sizesFor, writeScenario } from '../lib/node-scenario.js'
import type { Contender, Running } from './contender.js'
import { leavesByUplink } from './prepare.js'
import { type Track, type TrackOptions, WORKER_CORE } from './track.js'

const CLI = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))
const WARM_UP_MILLISECONDS = 3000
/** That a resting device's neighbour is known shall not depend on ARP. */
const PERMANENT = ['nud', 'permanent']

export interface DatapathOptions {
  readonly name: string
  readonly chain: ChainName
  readonly idle: IdleOptions['mode']
  readonly flows: number
  /** Of the datapath, besides. */
  readonly args?: readonly string[]
  /** Of Node. */
  readonly nodeArgs?: readonly string[]
  readonly track?: TrackOptions
}

/** Whoever only looks whether a benchmark still runs does not wait for the training. */
export const trainingArgs = (size: BenchOptions['size']): readonly string[] =>
  size === 'smoke' ? ['--no-training'] : []

export class DatapathContender implements Contender {
  readonly warmUpMilliseconds = WARM_UP_MILLISECONDS
  readonly name: string
  readonly description: string
  readonly track: TrackOptions
  readonly #options: DatapathOptions

  constructor(options: DatapathOptions) {
    this.#options = options
    this.name = options.name
    this.track = options.track ?? {}
    this.description = `ringpath datapath --idle ${options.idle}, chain "${options.chain}"`
  }

  problem(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  async start(track: Track): Promise<Running> {
    const { chain, idle, flows, args: more = [], nodeArgs = [] } = this.#options
    const { uplink, peer } = track.devices
    const state = track.lab.directory('state')
    // What the routes say comes from the node's kernel here, not from the scenario.
    const neighbour = [peer.address, 'lladdr', peer.mac, 'dev', uplink.device, ...PERMANENT]
    await track.lab.ip(track.node, [
      `neigh replace ${neighbour.join(' ')}`,
      `route add default via ${peer.address}`,
    ])
    writeScenario(DatapathMaps.createFiles(state, sizesFor(flows)), track.devices, flows)
    const args = ['datapath', '--state', state, '--idle', idle, '--no-reserve-ports']
    args.push('--cores', `${WORKER_CORE}`, ...more)
    const process = track.spawnWithWorker(globalThis.process.execPath, [...nodeArgs, CLI, ...args])
    await process.waitForOutput(/datapath ready/)
    return {
      process,
      target: { address: destinationOf(chain, track.devices), mac: track.sender.hostMac },
      sink: leavesByUplink(chain) ? 'uplink' : 'receiver',
      stop: async () => {
        await process.stop()
      },
    }
  }
}
