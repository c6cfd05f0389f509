/**
 * Where the demonstration is shown. On a terminal a block of lines is drawn over the one before; on
 * a pipe or in CI nothing is ever drawn over, lines just follow each other.
 */
import { ANSI_PAINT, clip, NO_PAINT, type Paint } from './text.js'

/** What it is shown on, as far as it matters. */
export interface ScreenSize {
  /** False: not a terminal, or one that cannot move its cursor. */
  readonly isTerminal: boolean
  readonly rows: number
  readonly columns: number
  readonly hasColour: boolean
}

/** VT100 and ECMA-48: to the first column n lines up; erase to the end of the screen. */
const linesUp = (lines: number): string => `\u001b[${lines}F`
const ERASE_BELOW = '\u001b[J'

const DEFAULT_ROWS = 24
const DEFAULT_COLUMNS = 80

export class Screen {
  readonly size: ScreenSize
  readonly paint: Paint
  readonly #write: (text: string) => void
  #drawnLines = 0

  constructor(size: ScreenSize, write: (text: string) => void) {
    this.size = size
    this.paint = size.hasColour ? ANSI_PAINT : NO_PAINT
    this.#write = write
  }

  /** Adds lines that stay, below what was drawn last. */
  print(lines: readonly string[]): void {
    this.#drawnLines = 0
    this.#write(`${lines.join('\n')}\n`)
  }

  /** Draws lines in the place of those drawn last; fewer than the terminal has rows. */
  draw(lines: readonly string[]): void {
    const back = this.#drawnLines === 0 ? '' : linesUp(this.#drawnLines)
    // A line that the terminal breaks would be two to go up.
    const text = lines.map((line) => clip(line, this.size.columns)).join('\n')
    this.#write(`${back}${ERASE_BELOW}${text}\n`)
    this.#drawnLines = lines.length
  }
}

/** Of this process's standard output; NO_COLOR (no-color.org) and TERM=dumb are honoured. */
export function standardScreenSize(): ScreenSize {
  const isTerminal = process.stdout.isTTY === true && process.env.TERM !== 'dumb'
  const hasColour = isTerminal && (process.env.NO_COLOR ?? '') === ''
  const rows = process.stdout.rows || DEFAULT_ROWS
  const columns = process.stdout.columns || DEFAULT_COLUMNS
  return { isTerminal, hasColour, rows, columns }
}
