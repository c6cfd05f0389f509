/** What the demonstration prints: it fits the terminal, and says what happened. */
import t from 'tap'
import { MonotonicClock } from '../../src/base/clock.js'
import { introLines } from '../../src/demo/intro.js'
import { bulkWindow, Program, type ProgramSpec } from '../../src/demo/program.js'
import type { Snapshot } from '../../src/demo/sampler.js'
import { Screen } from '../../src/demo/screen.js'
import { SimulatedWorld } from '../../src/demo/simulation/simulated-world.js'
import { ExitCode, exitCode, type SummaryInput, summaryLines } from '../../src/demo/summary.js'
import { ANSI_PAINT, bitRate, byteCount, clip, count, left, NO_PAINT } from '../../src/demo/text.js'
import { plainLines, viewLines } from '../../src/demo/view.js'

const WORKS: ProgramSpec = {
  where: 'client',
  command: 'curl 10.0.1.10',
  expectation: 'works',
  promise: 'allowed',
  unit: 'requests answered',
}
const REFUSED: ProgramSpec = {
  ...WORKS,
  where: 'intruder',
  expectation: 'refused',
  unit: 'attempts got through',
}

function program(spec: ProgramSpec, attempts: number, successes: number): Program {
  const made = new Program(spec)
  made.record(attempts, successes)
  return made
}

const rate = { receivedFrames: 1e7, receivedBits: 1e10, sentFrames: 1e7, sentBits: 1e10 }
const connection = { from: 'client', to: 'web', protocol: 6, service: 'tcp/5201' }
const drop = { from: 'intruder posing as client', to: 'web', service: 'tcp/5201', code: 132 }

const SNAPSHOT: Snapshot = {
  seconds: 12.4,
  ports: ['node', 'web', 'client', 'intruder', 'echo'].map((name) => ({
    ...rate,
    name,
    lostOnRings: 1e6,
  })),
  receivedFrames: 1e9,
  forwardedFrames: 1e9,
  droppedFrames: 1e6,
  lostOnRings: 1e6,
  drops: [
    { code: 133, direction: 1, frames: 1e6 },
    { code: 132, direction: 2, frames: 12 },
    { code: 196, direction: 0, frames: 1 },
  ],
  lastDrops: [1, 2, 3, 4].map((times) => ({
    ...drop,
    name: 'INVALID_SOURCE_IP',
    where: 'leaving intruder',
    times,
  })),
  connections: {
    all: [1, 2, 3, 4, 5].map(() => ({ ...connection, state: 'open', packets: 1e9, bytes: 1e12 })),
    tcp: { open: 5, unanswered: 100, closing: 10, closed: 1000 },
    udp: 100,
    icmp: 100,
  },
}
const PROGRAMS = [program(WORKS, 1000, 1000), ...new Array(6).fill(program(REFUSED, 100, 0))]
const input = (rows: number) => ({
  snapshot: SNAPSHOT,
  programs: PROGRAMS,
  facts: 'datapath pid 4194304, native XDP, AF_XDP copy mode',
  showSeconds: 3600,
  rows,
})

t.test('the view has at most 100 columns, and at most the rows that there are', async (t) => {
  for (const rows of [23, 29, 60]) {
    const lines = viewLines(input(rows), NO_PAINT)
    t.ok(lines.length <= rows, `${lines.length} lines in ${rows} rows`)
    for (const line of lines) t.ok(line.length <= 100, line)
  }
  t.ok(viewLines(input(60), NO_PAINT).includes(''), 'sections are set apart where there is room')
})

t.test('lines for a pipe have at most 100 columns and no escape sequences', async (t) => {
  for (const line of plainLines(input(24))) {
    t.ok(line.length <= 100, line)
    t.notOk(line.includes('\u001b'))
  }
})

t.test(
  'the introduction has at most 100 columns and names the mode in its first line',
  async (t) => {
    const world = new SimulatedWorld(new MonotonicClock())
    const options = { seconds: 25, reason: 'network namespaces need root: run it with sudo' }
    const lines = introLines(world, options, NO_PAINT)
    for (const line of lines) t.ok(line.length <= 100, line)
    t.match(lines[0], /^SIMULATION, .*: network namespaces need root: run it with sudo$/)
    t.match(lines.join('\n'), /web +client: tcp\/80, tcp\/5201, ping; the node: tcp\/80/)
    await world.stop()
  },
)

t.test('a screen draws over what it drew, not over what it printed', async (t) => {
  let written = ''
  const size = { isTerminal: true, hasColour: false, rows: 24, columns: 10 }
  const screen = new Screen(size, (text) => {
    written += text
  })
  screen.print(['first'])
  screen.draw(['one', 'a line longer than the terminal'])
  screen.draw(['two'])
  screen.print(['last'])
  screen.draw(['three'])
  t.equal(written, 'first\n\u001b[Jone\na line lon\n\u001b[2F\u001b[Jtwo\nlast\n\u001b[Jthree\n')
})

t.test('a broken promise is an exit code of 1, whichever it is', async (t) => {
  const end = { frames: 1, isEveryFrameAccounted: true, leftBehind: [] }
  const good: SummaryInput = {
    programs: [program(WORKS, 5, 5), program(REFUSED, 5, 0)],
    seconds: 25,
    snapshot: SNAPSHOT,
    end,
    isSimulated: false,
    isInterrupted: false,
    problem: undefined,
  }
  t.equal(exitCode(good), ExitCode.AS_PROMISED)
  const broken: Partial<SummaryInput>[] = [
    { programs: [program(WORKS, 5, 4)] },
    { programs: [program(WORKS, 0, 0)] },
    { programs: [program(REFUSED, 5, 1)] },
    { end: { ...end, isEveryFrameAccounted: false } },
    { end: { ...end, leftBehind: ['rp-abc-web'] } },
    { problem: 'it died' },
  ]
  for (const change of broken) {
    const wrong = { ...good, ...change }
    t.equal(exitCode(wrong), ExitCode.BROKEN_PROMISE)
    t.match(summaryLines(wrong, NO_PAINT).at(-1), /^NOT as promised/)
  }
  const early = { ...good, isInterrupted: true, programs: [program(WORKS, 0, 0)] }
  t.equal(exitCode(early), ExitCode.INTERRUPTED, 'what had no time to run breaks no promise')
  t.equal(exitCode({ ...good, end: undefined }), ExitCode.AS_PROMISED, 'a world that is kept')
})

t.test('a program that may lose some is as promised above its share', async (t) => {
  const spec = { ...WORKS, shareMin: 0.75 }
  t.ok(program(spec, 4, 3).isAsPromised)
  t.notOk(program(spec, 4, 2).isAsPromised)
  t.equal(program(REFUSED, 3, 0).result, '0 of 3 attempts got through')
  t.equal(program(REFUSED, 3, 1).result, '1 of 3 attempts got through')
})

t.test('the bulk transfer ends before the show does', async (t) => {
  for (const seconds of [3, 6, 25, 3600]) {
    const window = bulkWindow(seconds)
    t.ok(window.seconds >= 1 && window.startSeconds + window.seconds < seconds)
  }
})

t.test('numbers are written for people', async (t) => {
  t.equal(count(1234567.2), '1,234,567')
  t.equal(bitRate(2.14e9), '2.14 Gbit/s')
  t.equal(bitRate(24.24e6), '24.2 Mbit/s')
  t.equal(bitRate(0), '0 kbit/s')
  t.equal(byteCount(999), '999 B')
  t.equal(byteCount(1.25e9), '1.3 GB')
  t.equal(left('abcdef', 4), 'abc~')
  t.equal(clip(`${ANSI_PAINT.bad('abc')}def`, 4), '\u001b[31mabc\u001b[0md')
})
