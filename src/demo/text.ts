/** Numbers, columns and colours for people; a column is padded before it is coloured. */

export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly good: (text: string) => string
  readonly bad: (text: string) => string
}

const plain = (text: string): string => text
export const NO_PAINT: Paint = { bold: plain, dim: plain, good: plain, bad: plain }

const ESCAPE = '\u001b'
/** ECMA-48 "select graphic rendition". */
const colour = (code: number) => (text: string) => `${ESCAPE}[${code}m${text}${ESCAPE}[0m`
export const ANSI_PAINT: Paint = {
  bold: colour(1),
  dim: colour(2),
  good: colour(32),
  bad: colour(31),
}

const COLOUR = new RegExp(`(${ESCAPE}\\[\\d+m)`)

/** `1,234,567`. */
export const count = (value: number): string => Math.round(value).toLocaleString('en-US')

/** `1.24 Gbit/s`, `318 kbit/s`. */
export function bitRate(bitsPerSecond: number): string {
  if (bitsPerSecond >= 1e9) return `${(bitsPerSecond / 1e9).toFixed(2)} Gbit/s`
  if (bitsPerSecond >= 1e6) return `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`
  return `${Math.round(bitsPerSecond / 1e3)} kbit/s`
}

/** `1.2 GB`, `840 kB`, `512 B`. */
export function byteCount(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`
  if (bytes >= 1e3) return `${(bytes / 1e3).toFixed(1)} kB`
  return `${bytes} B`
}

/** Exactly that wide: padded on the right, or cut with a mark. */
export function left(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}~` : text.padEnd(width)
}

/** The first `columns` characters that are seen: colours take none, and are kept. */
export function clip(text: string, columns: number): string {
  let seen = 0
  // Split so that every odd part is a colour.
  const parts = text.split(COLOUR).map((part, i) => {
    if (i % 2 === 1) return part
    const kept = part.slice(0, columns - seen)
    seen += kept.length
    return kept
  })
  return parts.join('')
}

export function right(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}~` : text.padStart(width)
}
