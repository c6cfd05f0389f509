/** The simulated demonstration in virtual time: it shows what it promises, and tells it right. */
import t from 'tap'
import { VirtualClock } from '../../src/base/clock.js'
import { Sampler, type Snapshot } from '../../src/demo/sampler.js'
import { SimulatedWorld } from '../../src/demo/simulation/simulated-world.js'
import { ExitCode, exitCode, type SummaryInput, summaryLines } from '../../src/demo/summary.js'
import { NO_PAINT } from '../../src/demo/text.js'
import { Direction } from '../../src/packet/verdict.js'

const SHOW_SECONDS = 6
const STEP_SECONDS = 0.005

interface Shown {
  readonly input: SummaryInput
  readonly snapshot: Snapshot
  readonly world: SimulatedWorld
}

async function shown(): Promise<Shown> {
  const clock = new VirtualClock(1000)
  const world = new SimulatedWorld(clock)
  const now = () => clock.seconds() + clock.nanosecondsOfSecond() / 1e9
  const sampler = new Sampler(world, now)
  world.begin(SHOW_SECONDS)
  for (let i = 0; i < SHOW_SECONDS / STEP_SECONDS; i++) {
    world.step()
    clock.advanceSeconds(STEP_SECONDS)
  }
  // Spinning turns publish the counters once in a while: every frame of them is in by then.
  for (let i = 0; i < 100; i++) world.step()
  const snapshot = sampler.sample()
  const common = { isSimulated: true, isInterrupted: false, problem: undefined }
  const { programs } = world
  const seconds = SHOW_SECONDS
  return {
    input: { ...common, programs, seconds, snapshot, end: await world.stop() },
    snapshot,
    world,
  }
}

t.test('every program does what was promised, and the exit code is 0', async (t) => {
  const { input, world } = await shown()
  for (const program of world.programs) {
    t.ok(program.isAsPromised, `${program.spec.where}: ${program.spec.command}: ${program.result}`)
    t.ok(program.attempts > 0)
    const { expectation } = program.spec
    t.equal(program.successes, expectation === 'works' ? program.attempts : 0)
  }
  t.equal(exitCode(input), ExitCode.AS_PROMISED)
  t.equal(world.badChecksums, 0, 'no frame reached a pod with a wrong checksum')
})

t.test('each refused attempt is one drop, with its code and on its side', async (t) => {
  const { snapshot, world } = await shown()
  const dropped = (code: number) => snapshot.drops.find((drop) => drop.code === code)
  t.match(dropped(133), { direction: Direction.INGRESS })
  t.match(dropped(132), { direction: Direction.EGRESS })
  const refused = world.programs.filter(({ spec }) => spec.expectation === 'refused')
  // An attempt that the end cut short has its drop, but did not count.
  t.ok((dropped(133)?.frames ?? 0) - (refused[0]?.attempts ?? 0) <= 1)
  t.ok((dropped(132)?.frames ?? 0) - (refused[1]?.attempts ?? 0) <= 1)
  const told = snapshot.lastDrops.map(
    ({ from, to, service, code }) => `${from} ${to} ${service} ${code}`,
  )
  t.same(told.sort(), ['intruder posing as client web tcp/80 132', 'intruder web tcp/80 133'])
})

t.test('all frames that came in were sent on or dropped', async (t) => {
  const { input, snapshot } = await shown()
  t.equal(snapshot.receivedFrames, snapshot.forwardedFrames + snapshot.droppedFrames)
  t.equal(input.end?.frames, snapshot.receivedFrames)
  t.equal(snapshot.lostOnRings, 0)
})

t.test('connections are told by the names of the pods, the open ones first', async (t) => {
  const { snapshot } = await shown()
  const { all, tcp, udp, icmp } = snapshot.connections
  t.ok(tcp.closed > 10 && udp > 3 && icmp > 10)
  t.equal(all.length, Object.values(tcp).reduce((a, b) => a + b, 0) + udp + icmp)
  const names = new Set(all.flatMap(({ from, to }) => [from, to]))
  t.same(
    [...names].sort(),
    ['client', 'echo', 'node', 'web'],
    'a refused connection leaves no entry',
  )
})

t.test(
  'the summary tells each program, the drops by reason, and that nothing is left',
  async (t) => {
    const { input } = await shown()
    const text = summaryLines(input, NO_PAINT).join('\n')
    t.match(text, /Summary of 6 s, in simulation/)
    t.match(text, /ok client {3}curl 10\.0\.1\.10 +(\d+) of \1 requests answered/)
    t.match(text, /ok intruder nc .* 0 of \d+ attempts got through/)
    t.match(text, /133 POLICY_DENIED +ingress +no rule allows it/)
    t.match(text, /132 INVALID_SOURCE_IP +egress/)
    t.match(text, /Every frame accounted for/)
    t.match(text, /Nothing is left behind/)
  },
)
