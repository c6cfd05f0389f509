/** How long nothing comes through, to the millisecond: a paced stream between two pods and its echoes. */
import { fileURLToPath } from 'node:url'
import type { Lab, Namespace } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import type { PacedReport } from './programs/paced-stream.js'

const PROGRAM = fileURLToPath(new URL('./programs/paced-stream.js', import.meta.url))

export class GapStream {
  readonly #server: LabProcess
  readonly #client: LabProcess
  #asked = 0

  private constructor(server: LabProcess, client: LabProcess) {
    this.#server = server
    this.#client = client
  }

  static async start(
    lab: Lab,
    from: Namespace,
    to: Namespace & { readonly address: string },
    port = 7000,
  ): Promise<GapStream> {
    const args = (role: string) => [PROGRAM, role, to.address, `${port}`]
    const server = lab.spawn(to, process.execPath, args('serve'))
    await server.waitForOutput(/listening/)
    const client = lab.spawn(from, process.execPath, args('send'))
    await client.waitForOutput(/sending/)
    return new GapStream(server, client)
  }

  /** The longest time without an echo since it was asked for last, in milliseconds. */
  async gap(): Promise<number> {
    this.#client.write('\n')
    const pattern = new RegExp(`(?:gap [\\d.]+[\\s\\S]*){${++this.#asked}}`)
    const [all] = await this.#client.waitForOutput(pattern)
    return Number([...all.matchAll(/gap ([\d.]+)/g)].at(-1)?.[1])
  }

  async stop(): Promise<PacedReport> {
    this.#client.closeInput()
    const [line] = await this.#client.waitForOutput(/^\{.*\}$/m)
    await this.#server.stop()
    return JSON.parse(line) as PacedReport
  }
}
