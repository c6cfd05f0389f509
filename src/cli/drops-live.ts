/**
 * `ringpath drops --live`: drops by reason with their rates, the last packet of each, and the last frames of
 * all. A terminal shows one screen that is drawn anew; anything else gets what has changed, as it changes.
 */

import { stripVTControlCharacters } from 'node:util'
import type { FlowView } from '../observe/flow-view.js'
import type { CountedReason } from '../observe/node-view.js'
import type { Client } from './client.js'
import { flowLine, type LineOptions, packetText } from './flow-text.js'
import { clean, type Format, paint, print, tableText, yamlText } from './output.js'

const MILLISECONDS = 1_000
/** Cursor to the top, then what is below it goes: without a flash of an empty screen. */
const HOME = '\x1b[H'
const CLEAR_REST = '\x1b[J'
const CLEAR_LINE_REST = '\x1b[K'
const CLEAR = '\x1b[2J'

export interface LiveOptions extends LineOptions {
  readonly output: Format
  /** Frames in the lower part. */
  readonly last: number
  /** Between two looks. */
  readonly interval: number
  /** How long; for ever when absent. */
  readonly seconds?: number
  readonly isCounted: (reason: CountedReason) => boolean
}

interface LiveRow extends CountedReason {
  readonly perSecond: number
  /** The newest of them that was seen. */
  readonly lastFrame?: FlowView
}

export class LiveDrops {
  readonly #client: Client
  readonly #path: string
  readonly #options: LiveOptions
  readonly #last: FlowView[] = []
  readonly #lastOf = new Map<string, FlowView>()
  readonly #before = new Map<string, number>()
  #beforeAt = 0
  #drawn = ''

  /** @param path of the stream of drops, with the filters of its query */
  constructor(client: Client, path: string, options: LiveOptions) {
    this.#client = client
    this.#path = path
    this.#options = options
  }

  /** Until its time is over, or the agent ends. */
  async run(): Promise<void> {
    const { interval, seconds } = this.#options
    let failure: unknown
    const stream = this.#follow().catch((error: unknown) => {
      failure = error ?? new Error('the stream of drops ended')
    })
    const end = seconds === undefined ? Number.POSITIVE_INFINITY : Date.now() + seconds * 1_000
    const { setTimeout: sleep } = await import('node:timers/promises')
    // What is kept arrives first.
    await sleep(Math.min(interval * MILLISECONDS, 200))
    for (;;) {
      if (failure !== undefined) throw failure
      await this.#look()
      const left = end - Date.now()
      if (left <= 0) break
      await Promise.race([sleep(Math.min(interval * MILLISECONDS, left)), stream])
    }
  }

  async #follow(): Promise<void> {
    for await (const line of this.#client.lines(this.#path)) {
      const flow = JSON.parse(line) as FlowView | { lost: number }
      if ('lost' in flow) continue
      this.#last.push(flow)
      if (this.#last.length > this.#options.last) this.#last.shift()
      this.#lastOf.set(keyOf(flow.dropCode, flow.direction), flow)
    }
    throw new Error('the agent ended')
  }

  async #look(): Promise<void> {
    const counters = await this.#client.json<CountedReason[]>('GET', '/v1/counters')
    const now = performance.now()
    const seconds = this.#beforeAt === 0 ? 0 : (now - this.#beforeAt) / MILLISECONDS
    this.#beforeAt = now
    const rows = counters.filter(this.#options.isCounted).map((row): LiveRow => {
      const key = keyOf(row.code, row.direction)
      const more = row.packets - (this.#before.get(key) ?? 0)
      this.#before.set(key, row.packets)
      const lastFrame = this.#lastOf.get(key)
      const perSecond = seconds === 0 ? 0 : Math.round(more / seconds)
      return { ...row, perSecond, ...(lastFrame === undefined ? {} : { lastFrame }) }
    })
    this.#show(rows.sort((a, b) => b.perSecond - a.perSecond || b.packets - a.packets))
  }

  #show(rows: readonly LiveRow[]): void {
    const { output } = this.#options
    if (output === 'json' || output === 'yaml') {
      const value = { time: new Date().toISOString(), drops: rows, last: this.#last }
      print(output === 'json' ? JSON.stringify(value) : `---\n${yamlText(value)}`)
      return
    }
    const text = this.#text(rows)
    if (process.stdout.isTTY === true) {
      this.#draw(text)
    } else if (text !== this.#drawn) {
      print(`${new Date().toISOString()}\n${text}\n`)
      this.#drawn = text
    }
  }

  #draw(text: string): void {
    const time = new Date().toISOString().slice(11, 19)
    const head = paint.dim(`${time} UTC, every ${this.#options.interval} s; Ctrl-C ends it`)
    const { rows = 24, columns = 80 } = process.stdout
    const lines = `${head}\n${text}`.split('\n').slice(0, rows - 1)
    const cut = lines.map((line) => `${cutTo(line, columns)}${CLEAR_LINE_REST}`)
    process.stdout.write(
      `${this.#drawn === '' ? CLEAR : ''}${HOME}${cut.join('\n')}\n${CLEAR_REST}`,
    )
    this.#drawn = text
  }

  #text(rows: readonly LiveRow[]): string {
    if (rows.length === 0) return 'nothing was dropped'
    const { numeric } = this.#options
    const table = tableText(
      rows,
      [
        { title: 'PACKETS', value: (r) => r.packets, isNumber: true },
        { title: '/S', value: (r) => r.perSecond, isNumber: true },
        { title: 'CODE', value: (r) => r.code, isNumber: true },
        { title: 'REASON', value: (r) => r.reason },
        { title: 'DIRECTION', value: (r) => r.direction },
        {
          title: 'LAST',
          value: ({ lastFrame: f }) => (f === undefined ? '' : `${f.id} ${packetText(f, numeric)}`),
        },
      ],
      false,
    )
    const frames = this.#last.map((flow) => flowLine(flow, this.#options))
    return frames.length === 0 ? table : `${table}\n\n${frames.join('\n')}`
  }
}

const keyOf = (code: number, direction: string): string => `${code} ${direction}`

/** A line that would go on in the next one spoils the screen. Colours of a cut line are ended. */
function cutTo(line: string, columns: number): string {
  const plain = clean(stripVTControlCharacters(line))
  return plain.length <= columns ? line : `${plain.slice(0, columns - 1)}…`
}
