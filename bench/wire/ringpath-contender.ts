/** Our own: the engine's loop on AF_XDP with the pipeline, or with next to nothing. */
import { fileURLToPath } from 'node:url'
import type { IdleOptions } from '../../src/engine/idle-strategy.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import { type ChainName, destinationOf } from '../lib/node-scenario.js'
import type { Contender, Running } from './contender.js'
import type { ForwarderInput, ForwarderReport } from './forwarder-messages.js'
import { leavesByUplink } from './prepare.js'
import { type Track, WORKER_CORE } from './track.js'
import { type Reading, Readings } from './traffic.js'

const FORWARDER = fileURLToPath(new URL('./forwarder.js', import.meta.url))
/** V8 compiles on the core that it is measured on: for some seconds a forwarder has half of it. */
const WARM_UP_MILLISECONDS = 2500

export interface RingpathOptions {
  readonly name: string
  readonly kind: ForwarderInput['kind']
  /** What a chain is sent; 'pod' unless given. */
  readonly chain?: ChainName
  readonly flows: number
  /** 'spin' unless given. */
  readonly idle?: IdleOptions['mode']
  /** Gets the account of a forwarder that ends. */
  readonly report?: (report: ForwarderReport) => void
}

export class RingpathContender implements Contender {
  readonly warmUpMilliseconds = WARM_UP_MILLISECONDS
  readonly name: string
  readonly description: string
  readonly #options: RingpathOptions

  constructor(options: RingpathOptions) {
    this.#options = options
    this.name = options.name
    const what = options.kind === 'chain' ? `our chain "${options.chain ?? 'pod'}"` : options.kind
    this.description = `${what} in TypeScript, ${options.idle ?? 'spin'}, one worker`
  }

  problem(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  async start(track: Track): Promise<Running> {
    const { kind, flows, chain = 'pod', idle = 'spin', report } = this.#options
    const input: ForwarderInput = { kind, flows, idle, core: WORKER_CORE, devices: track.devices }
    const process = track.spawnWithWorker(globalThis.process.execPath, [
      FORWARDER,
      JSON.stringify(input),
    ])
    await process.waitForOutput(/ready/)
    const readings = new Readings<Reading>(process, (child) => child.write('frames\n'))
    const isByUplink = kind === 'chain' && leavesByUplink(chain)
    return {
      process,
      target: { address: destinationOf(chain, track.devices), mac: track.sender.hostMac },
      sink: kind === 'drop' ? 'none' : isByUplink ? 'uplink' : 'receiver',
      read: () => readings.next(),
      begin: async () => {
        process.write('begin\n')
        await process.waitForOutput(/begun/)
      },
      stop: async () => {
        const account = await stopped(process)
        report?.(account)
      },
    }
  }
}

async function stopped(process: LabProcess): Promise<ForwarderReport> {
  process.write('stop\n')
  const [line] = await process.waitForOutput(/\{.*"collections".*\}/)
  await process.stop()
  return JSON.parse(line) as ForwarderReport
}
