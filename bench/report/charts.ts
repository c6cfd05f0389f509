/**
 * Charts as SVG text: horizontal bars with the range of the runs drawn over each. Plain shapes and
 * system fonts, colours that are legible on white and on black; the same input gives the same text.
 */

export interface Bar {
  readonly label: string
  readonly value: number
  readonly min: number
  readonly max: number
  /** Ours or somebody else's: the colour. */
  readonly isOurs: boolean
}

export interface Chart {
  readonly title: string
  readonly unit: string
  readonly bars: readonly Bar[]
}

const WIDTH = 760
const LABEL_WIDTH = 240
const VALUE_WIDTH = 90
const ROW_HEIGHT = 24
const BAR_HEIGHT = 14
const HEAD_HEIGHT = 44
const FOOT_HEIGHT = 12
const OURS = '#2f6fde'
const OTHERS = '#8a94a6'
const TEXT = '#767d8a'

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** With thousands as k and M. */
export function shortNumber(value: number): string {
  const [divisor, suffix] = value >= 1e6 ? [1e6, ' M'] : value >= 1e4 ? [1e3, ' k'] : [1, '']
  const scaled = value / divisor
  const digits = scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2
  return `${scaled.toFixed(digits)}${suffix}`
}

export function barChart(chart: Chart): string {
  const { bars, title, unit } = chart
  const height = HEAD_HEIGHT + bars.length * ROW_HEIGHT + FOOT_HEIGHT
  const most = Math.max(...bars.map((bar) => bar.max))
  const scale = most > 0 ? (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / most : 0
  const x = (value: number): string => (LABEL_WIDTH + Math.max(0, value) * scale).toFixed(1)
  const rows = bars.map((bar, i) => {
    const top = HEAD_HEIGHT + i * ROW_HEIGHT
    const middle = top + ROW_HEIGHT / 2
    const width = Math.max(1, bar.value * scale).toFixed(1)
    const y = (middle - BAR_HEIGHT / 2).toFixed(1)
    const fill = bar.isOurs ? OURS : OTHERS
    return [
      text(LABEL_WIDTH - 8, middle + 4, bar.label, 'end'),
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${width}" height="${BAR_HEIGHT}" fill="${fill}"/>`,
      `<path d="M${x(bar.min)} ${middle}H${x(bar.max)}" stroke="${TEXT}" stroke-width="2"/>`,
      text(
        Number(x(Math.max(bar.value, bar.max))) + 6,
        middle + 4,
        shortNumber(bar.value),
        'start',
      ),
    ].join('\n')
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img"`,
    ` width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="13">`,
    `<title>${escaped(title)}</title>`,
    text(8, 20, `${title} (${unit})`, 'start', 'bold'),
    ...rows,
    '</svg>',
    '',
  ].join('\n')
}

function text(x: number, y: number, content: string, anchor: string, weight = 'normal'): string {
  const place = `x="${x}" y="${y}" text-anchor="${anchor}"`
  return `<text ${place} font-weight="${weight}" fill="${TEXT}">${escaped(content)}</text>`
}
