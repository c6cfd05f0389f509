/**
 * Sends by the kernel's own pktgen, as a program: the first line of its input is SendOptions as JSON.
 * It prints "ready", then for each further line one line of JSON (SendReport); the end of the input,
 * or the spec's count or time, ends it, and it prints such a line as its last.
 *
 * Writing `start` blocks until all is sent, so another process does it: this program once more, with
 * the argument "start".
 */
import '../base/sure-exit.js'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { monotonicNanoseconds } from './monotonic.js'
import { PKTGEN_FOLDER, parsePktgenResult, pktgenWrites } from './pktgen-control.js'
import type { SendOptions, SendReport } from './sender.js'

const START = 'start'
const MILLISECONDS = 1_000

const write = (file: string, text: string): void =>
  writeFileSync(`${PKTGEN_FOLDER}/${file}`, `${text}\n`)

class PktgenSender {
  readonly #device: string
  readonly #options: SendOptions
  #first = 0
  #last = 0

  constructor(options: SendOptions) {
    const thread = options.core ?? 0
    this.#options = options
    this.#device = `${options.device}@${thread}`
    for (const { file, text } of pktgenWrites(options, thread)) {
      try {
        write(file, text)
      } catch (error) {
        throw new Error(`the kernel's pktgen refuses "${text}": ${(error as Error).message}`)
      }
    }
  }

  async run(): Promise<void> {
    this.#first = monotonicNanoseconds()
    const self = fileURLToPath(import.meta.url)
    const child = spawn(process.execPath, [self, START], { stdio: 'inherit' })
    const { seconds } = this.#options.spec
    const timer = seconds === 0 ? undefined : setTimeout(() => this.stop(), seconds * MILLISECONDS)
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', () => resolve())
    })
    clearTimeout(timer)
    this.#last = monotonicNanoseconds()
  }

  stop(): void {
    write('pgctrl', 'stop')
  }

  report(): SendReport {
    const result = parsePktgenResult(readFileSync(`${PKTGEN_FOLDER}/${this.#device}`, 'utf8'))
    const now = monotonicNanoseconds()
    // Its own measure once it has ended: starting a process is in ours.
    const end = this.#last === 0 ? now : this.#first + result.microseconds * MILLISECONDS
    return {
      frames: result.frames,
      bytes: result.frames * (this.#options.spec.sizes[0]?.frameBytes ?? 0),
      firstNanoseconds: Math.round(this.#first),
      lastNanoseconds: Math.round(end),
      nowNanoseconds: Math.round(now),
      timesBehind: 0,
    }
  }
}

async function begin(options: SendOptions): Promise<PktgenSender> {
  const made = new PktgenSender(options)
  console.log('ready')
  void made.run().then(() => {
    console.log(JSON.stringify(made.report()))
    write('pgctrl', 'reset')
    process.exit(0)
  })
  return made
}

function serve(): void {
  if (!existsSync(PKTGEN_FOLDER)) {
    console.error(`${PKTGEN_FOLDER} is not there: \`modprobe pktgen\`, or another --engine`)
    process.exit(1)
  }
  let sender: PktgenSender | undefined
  const input = createInterface({ input: process.stdin })
  input.on('line', async (line) => {
    try {
      if (sender === undefined) sender = await begin(JSON.parse(line) as SendOptions)
      else console.log(JSON.stringify(sender.report()))
    } catch (error) {
      console.error((error as Error).message)
      process.exit(1)
    }
  })
  input.on('close', () => sender?.stop())
}

if (process.argv[2] === START) write('pgctrl', START)
else serve()
