/** The yardstick: a forwarder in C++ on the engine's own poller and rings (bench/yardstick). */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { programPath } from '../lib/native-programs.js'
import {
  type ChainName,
  destinationOf,
  scenarioMaps,
  writeScenario,
  yardstickConfig,
} from '../lib/node-scenario.js'
import type { Contender, Running } from './contender.js'
import { leavesByUplink } from './prepare.js'
import type { Track } from './track.js'
import { type Reading, Readings } from './traffic.js'

/** It has nothing to compile, but caches to fill. */
const WARM_UP_MILLISECONDS = 200

const DESCRIPTIONS = {
  poller: 'C++ on our poller, MAC addresses only',
  plain: 'C++ on rings of its own, MAC addresses only',
  drop: 'C++ on our poller, receives only',
} as const
export type YardstickMode = keyof typeof DESCRIPTIONS

export class YardstickContender implements Contender {
  readonly warmUpMilliseconds = WARM_UP_MILLISECONDS
  readonly name: string
  readonly description: string
  readonly #mode: YardstickMode

  constructor(name: string, mode: YardstickMode) {
    this.name = name
    this.#mode = mode
    this.description = DESCRIPTIONS[mode]
  }

  problem(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  async start(track: Track): Promise<Running> {
    const { sender, receiver, uplink } = track.devices
    const pair = [sender, receiver].flatMap(({ device, mac, nodeMac }) => [device, mac, nodeMac])
    // The third is polled as ours polls it; rings of its own know the pair alone.
    const others = this.#mode === 'plain' ? [] : [uplink.device]
    const args = [this.#mode, programPath('xdp_redirect.o'), ...pair, ...others]
    const process = track.spawn(programPath('forward'), args)
    await process.waitForOutput(/ready/)
    const readings = new Readings<Reading>(process, (child) => child.kill('SIGUSR1'))
    return {
      process,
      target: { address: receiver.address, mac: sender.nodeMac },
      sink: this.#mode === 'drop' ? 'none' : 'receiver',
      read: () => readings.next(),
      stop: async () => {
        await process.stop()
      },
    }
  }
}

/** The chain in C (bench/yardstick/chain.h) on the same poller and rings. */
export class ChainContender implements Contender {
  readonly warmUpMilliseconds = WARM_UP_MILLISECONDS
  readonly name: string
  readonly description: string
  readonly #chain: ChainName
  readonly #flows: number
  readonly #mode: string

  /** @param idle `poll`: it sleeps while no frame waits */
  constructor(name: string, chain: ChainName, flows: number, idle: 'spin' | 'poll' = 'spin') {
    this.name = name
    this.description = `the chain "${chain}" in C on our poller`
    this.#mode = idle === 'poll' ? 'chain-poll' : 'chain'
    this.#chain = chain
    this.#flows = flows
  }

  problem(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  async start(track: Track): Promise<Running> {
    const { devices, lab, sender } = track
    const maps = scenarioMaps(this.#flows)
    writeScenario(maps, devices, this.#flows)
    const config = join(lab.directory('yardstick'), 'node.conf')
    writeFileSync(config, yardstickConfig(maps, devices, this.#flows, this.#chain))
    const names = [devices.sender, devices.receiver, devices.uplink].map(({ device }) => device)
    const args = [this.#mode, programPath('xdp_redirect.o'), config, ...names]
    const process = track.spawn(programPath('forward'), args)
    await process.waitForOutput(/ready/)
    return {
      process,
      target: { address: destinationOf(this.#chain, devices), mac: sender.hostMac },
      sink: leavesByUplink(this.#chain) ? 'uplink' : 'receiver',
      stop: async () => {
        await process.stop()
      },
    }
  }
}
