/** Datapaths that stand by on a live node, and hand-overs to them, as `ringpath upgrade` makes them. */
import { fileURLToPath } from 'node:url'
import { holderOf, Role, readyHolderOf } from '../../src/daemon/process-lock.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import type { LiveNode } from './live-node.js'

const CLI = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))

export class HandOvers {
  readonly #live: LiveNode
  /** The one started last. */
  last: LabProcess | undefined

  constructor(live: LiveNode) {
    this.#live = live
  }

  /** The process that has the ports. */
  get holder(): number | undefined {
    return holderOf(this.#live.directory, Role.DATAPATH)
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    for (let tries = 0; tries < 500; tries++) {
      if (holds()) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    throw new Error(`${what} did not come; ${this.last?.output}`)
  }

  /** A datapath that stands by and is ready. @param args of its command line, besides */
  async standby(...args: string[]): Promise<LabProcess> {
    const { lab, node, directory } = this.#live
    const common = ['datapath', '--state', directory, '--standby', '--no-training']
    const command = ['--enable-source-maps', CLI, ...common, ...args]
    const started = lab.spawn(node, process.execPath, command)
    this.last = started
    await this.until('a standby', () => readyHolderOf(directory, Role.STANDBY) === started.pid)
    return started
  }

  /** One hand-over, to a new one unless given; what the new process said of it. */
  async run(given?: LabProcess): Promise<string> {
    const taker = given ?? (await this.standby())
    process.kill(taker.pid ?? 0, 'SIGUSR2')
    await this.until('the new datapath', () => this.holder === taker.pid)
    const [line] = await taker.waitForOutput(/took over .*/)
    return line
  }
}
