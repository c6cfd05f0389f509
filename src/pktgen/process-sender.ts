/** Senders that are programs of their own: in the kernel, by AF_XDP, by the kernel's pktgen. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { LineProcess, type Place } from './line-process.js'
import { planOf } from './plan.js'
import { planBytes } from './plan-bytes.js'
import type { Engine, Sender, SendOptions, SendReport } from './sender.js'

/** Built by scripts/setup.sh from the sources; an installed package has the sources alone. */
const BUILD = fileURLToPath(new URL('../../../build/generator/', import.meta.url))
const SOURCES = fileURLToPath(new URL('../../../generator', import.meta.url))

/** @throws RingpathError GENERATOR when it is not built */
export function builtProgram(name: string): string {
  const path = `${BUILD}${name}`
  if (existsSync(path)) return path
  throw new RingpathError(
    ErrorCode.GENERATOR,
    `the generator is not built: \`make -C ${SOURCES}\` (needs make, gcc, clang, libbpf-dev)`,
  )
}

/** Starts to send. @throws RingpathError GENERATOR, CONFIG_INVALID */
export async function startSender(engine: Engine, options: SendOptions): Promise<Sender> {
  const place: Place = options.core === undefined ? {} : { core: options.core }
  // Before anything is started: it refuses what cannot be sent.
  const plan = planOf(options.spec)
  let child: LineProcess
  if (engine === 'xdp') {
    child = new LineProcess(builtProgram('generate'), [options.device], place)
    child.write(`${Buffer.from(planBytes(plan)).toString('hex')}\n`)
  } else {
    const name = engine === 'af-xdp' ? './xsk-sender-main.js' : './pktgen-sender-main.js'
    child = new LineProcess(
      process.execPath,
      [fileURLToPath(new URL(name, import.meta.url))],
      place,
    )
    child.write(`${JSON.stringify(options)}\n`)
  }
  await child.ready()
  return new ProcessSender(child)
}

/**
 * Every answer of such a program is a report, and the last one comes by itself: an answer that
 * nobody asked for, so each question takes one line and the end takes all that are left.
 */
class ProcessSender implements Sender {
  readonly finished: Promise<SendReport>
  readonly #child: LineProcess
  #last: SendReport | undefined
  #asked: ((report: SendReport) => void)[] = []

  constructor(child: LineProcess) {
    this.#child = child
    this.finished = this.#follow()
    // Who does not wait for the end must not be stopped by it; `stop` and `read` tell.
    this.finished.catch(() => undefined)
  }

  async read(): Promise<SendReport> {
    const answer = new Promise<SendReport>((resolve) => this.#asked.push(resolve))
    this.#child.write('\n')
    return Promise.race([answer, this.finished])
  }

  async stop(): Promise<SendReport> {
    await this.#child.close()
    return this.finished
  }

  async #follow(): Promise<SendReport> {
    for (;;) {
      try {
        const report = JSON.parse(await this.#child.nextLine(0)) as SendReport
        this.#last = report
        this.#asked.shift()?.(report)
      } catch (error) {
        const code = await this.#child.ended
        if (code === 0 && this.#last !== undefined) return this.#last
        throw error
      }
    }
  }
}
