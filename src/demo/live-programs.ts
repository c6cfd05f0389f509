/**
 * The real programs of the demonstration, each in its pod: python3's web server, curl, ping, nc,
 * socat and iperf3, started again and again until the show is over.
 */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lab, Namespace } from '../lab/lab.js'
import {
  httpGet,
  httpServer,
  iperf,
  ping,
  tcpProbe,
  udpEcho,
  udpEchoServer,
} from '../lab/traffic.js'
import type { LivePods } from './live-topology.js'
import { bulkWindow, type Program } from './program.js'
import type { ProgramSet } from './program-set.js'
import { bitRate } from './text.js'
import { CLIENT, ServerPort, WEB } from './topology.js'

const NEEDED = ['python3', 'curl', 'ping', 'nc', 'socat', 'iperf3'] as const
const HTTP_OK = 200
const PINGS_EACH = 4
/** How long the intruder waits for an answer. */
const PATIENCE_SECONDS = 1

/** Names of the programs that are not installed. */
export function missingPrograms(): string[] {
  const directories = (process.env.PATH ?? '').split(delimiter)
  return NEEDED.filter((name) => !directories.some((directory) => isProgram(join(directory, name))))
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export class LivePrograms {
  readonly #lab: Lab
  readonly #pods: LivePods
  readonly #set: ProgramSet

  constructor(lab: Lab, pods: LivePods, set: ProgramSet) {
    this.#lab = lab
    this.#pods = pods
    this.#set = set
  }

  /** Resolves when the servers listen; they run until the lab closes. */
  async serve(webDirectory: string): Promise<void> {
    const { web, echo, intruder } = this.#pods
    const at = { ns: web, address: web.address, port: ServerPort.HTTP }
    await httpServer(this.#lab, at, webDirectory)
    await udpEchoServer(this.#lab, { ns: echo, address: echo.address, port: ServerPort.ECHO })
    // The intruder may give itself any address; nobody asks it.
    await this.#lab.ip(intruder, [`address add ${CLIENT.address}/32 dev eth0`])
  }

  /** Runs all clients until the signal. */
  async run(signal: AbortSignal, showSeconds: number): Promise<void> {
    const { curl, nodeCurl, intrusion, posing } = this.#set
    const { client, node, intruder, web } = this.#pods
    const window = bulkWindow(showSeconds)
    await Promise.all([
      repeat(signal, 0.3, () => this.#get(signal, curl, client)),
      repeat(signal, 1, () => this.#get(signal, nodeCurl, node)),
      repeat(signal, 1, () => this.#ping(signal)),
      repeat(signal, 1, () => this.#echo(signal)),
      repeat(signal, 1, async () => {
        const { address } = web
        const answer = await tcpProbe(
          this.#lab,
          intruder,
          address,
          ServerPort.HTTP,
          PATIENCE_SECONDS,
        )
        if (!signal.aborted) intrusion.record(1, answer === 'silent' ? 0 : 1)
      }),
      repeat(signal, 2, () => this.#pose(signal, posing)),
      this.#bulk(signal, window.startSeconds, window.seconds),
    ])
  }

  async #get(signal: AbortSignal, program: Program, from: Namespace): Promise<void> {
    const { status, error } = await httpGet(this.#lab, from, `http://${WEB.address}/`)
    if (!signal.aborted) program.record(1, status === HTTP_OK ? 1 : 0, error)
  }

  async #ping(signal: AbortSignal): Promise<void> {
    const { client } = this.#pods
    const options = { count: PINGS_EACH }
    const { sent, received, averageMs } = await ping(this.#lab, client, WEB.address, options)
    if (signal.aborted) return
    const time = averageMs === undefined ? '' : `${averageMs.toFixed(2)} ms`
    this.#set.ping.record(sent, received, time)
  }

  async #echo(signal: AbortSignal): Promise<void> {
    const { client, echo } = this.#pods
    const text = `hello ${this.#set.echo.attempts}`
    const server = { ns: echo, address: echo.address, port: ServerPort.ECHO }
    const answer = await udpEcho(this.#lab, client, server, text, PATIENCE_SECONDS)
    if (!signal.aborted) this.#set.echo.record(1, answer === text ? 1 : 0)
  }

  /** A web request with the client's address as its source. */
  async #pose(signal: AbortSignal, program: Program): Promise<void> {
    const patience = ['--max-time', `${PATIENCE_SECONDS}`, '--noproxy', '*']
    const args = ['-sS', ...patience, '--interface', CLIENT.address, `http://${WEB.address}/`]
    const { code } = await this.#lab.exec(this.#pods.intruder, 'curl', args)
    if (!signal.aborted) program.record(1, code === 0 ? 1 : 0)
  }

  async #bulk(signal: AbortSignal, startSeconds: number, seconds: number): Promise<void> {
    await pause(startSeconds, signal)
    if (signal.aborted) return
    const { client, web } = this.#pods
    const { bulk } = this.#set
    bulk.detail = 'running'
    const to = { ns: web, address: web.address, port: ServerPort.IPERF }
    try {
      const { bitsPerSecond } = await iperf(this.#lab, client, to, { seconds })
      if (!signal.aborted) bulk.record(1, 1, bitRate(bitsPerSecond))
    } catch (error) {
      if (signal.aborted) return
      bulk.record(1, 0, error instanceof Error ? error.message.slice(0, 40) : 'failed')
    }
  }
}

/** Again and again, with at least the period from one start to the next. */
async function repeat(
  signal: AbortSignal,
  periodSeconds: number,
  attempt: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    const start = performance.now()
    try {
      await attempt()
    } catch (error) {
      // After the signal the lab may be gone under a program that was still running.
      if (!signal.aborted) throw error
    }
    await pause(periodSeconds - (performance.now() - start) / 1000, signal)
  }
}

async function pause(seconds: number, signal: AbortSignal): Promise<void> {
  if (seconds > 0) await sleep(seconds * 1000, undefined, { signal }).catch(() => undefined)
}
