/**
 * TCP from pod to pod by iperf3: through `ringpath datapath`, and through the kernel's routing on
 * the same kind of veths, where segments stay large from end to end (TSO), which XDP on a veth ends.
 * At an MTU of 1500 bytes, and of 9000, where a packet has several buffers.
 */
import { iperf } from '../../src/lab/traffic.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, summarize } from '../lib/result.js'
import { Routing } from '../peers/kernel-peers.js'
import { Contest, type Entrant } from './contest.js'
import { DatapathContender, trainingArgs } from './datapath-contender.js'
import { WIRE_FLOWS, wireProblem } from './prepare.js'
import type { Track } from './track.js'

const SECONDS = { full: 5, quick: 1, smoke: 1 } as const
/** One that the scenario's policy lets in. */
const PORT = 9090
const YARDSTICK = 'routing'
/** The last part of a name says by what it differs from the plain case. */
const CASES = [
  { name: '1', connections: 1, mtuBytes: 1500 },
  { name: '4', connections: 4, mtuBytes: 1500 },
  { name: '9000', connections: 1, mtuBytes: 9000 },
  { name: '9000/4', connections: 4, mtuBytes: 9000 },
] as const
type Case = (typeof CASES)[number]

export const tcpBenchmark: Benchmark = {
  name: 'tcp',
  isLong: true,
  problem: wireProblem,

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const results: BenchResult[] = []
    for (const mtuBytes of [1500, 9000]) results.push(...(await runAtMtu(mtuBytes, options)))
    return results
  },
}

async function runAtMtu(mtuBytes: number, options: BenchOptions): Promise<BenchResult[]> {
  const ours = { name: 'pod', chain: 'pod', idle: 'adaptive', flows: WIRE_FLOWS } as const
  const track = { mtu: mtuBytes }
  const contenders = [
    new Routing(track),
    new DatapathContender({ ...ours, track, args: trainingArgs(options.size) }),
  ]
  const contest = await Contest.open(contenders, options.log)
  try {
    for (const { track } of contest.entrants.values()) await addWaysBack(track)
    const results: BenchResult[] = []
    for (const each of CASES) {
      if (each.mtuBytes === mtuBytes) results.push(...(await runRounds(contest, each, options)))
    }
    return results
  } finally {
    await contest.close()
  }
}

/** Neighbours that the generator's traffic, which goes one way, does not need. */
async function addWaysBack({ lab, node, sender, receiver }: Track): Promise<void> {
  const { address, device, podMac } = sender
  await lab.ip(node, [
    `route replace ${address}/32 dev ${device}`,
    `neigh replace ${address} lladdr ${podMac} dev ${device} nud permanent`,
  ])
  for (const pod of [sender, receiver]) {
    await lab.ip(pod, [`neigh replace ${pod.gateway} lladdr ${pod.hostMac} dev eth0 nud permanent`])
  }
}

async function runRounds(
  contest: Contest,
  { name: suffix, connections, mtuBytes }: Case,
  { size, rounds, log }: BenchOptions,
): Promise<BenchResult[]> {
  const entrants = [...contest.entrants.values()]
  const values = new Map<string, number[]>(entrants.map(({ contender }) => [contender.name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const entrant of entrants) {
      const gigabits = await transfer(contest, entrant, connections, SECONDS[size])
      values.get(entrant.contender.name)?.push(gigabits)
      const what = `${entrant.contender.name}, MTU ${mtuBytes}, ${connections} connections`
      log(`${what}: ${gigabits.toFixed(2)} Gbit/s`)
    }
  }
  const samples = (name: string) => ({
    name: `tcp/${name}/${suffix}`,
    unit: 'Gbit/s',
    values: values.get(name) ?? [],
    note: `iperf3, ${connections} connections, MTU ${mtuBytes}`,
  })
  const isAlone = (name: string): boolean => name === YARDSTICK || !values.has(YARDSTICK)
  return entrants.map(({ contender: { name } }) =>
    isAlone(name) ? summarize(samples(name)) : summarize(samples(name), samples(YARDSTICK)),
  )
}

async function transfer(
  contest: Contest,
  entrant: Entrant,
  parallel: number,
  seconds: number,
): Promise<number> {
  const { sender, receiver } = entrant.track
  const server = { ns: receiver, address: receiver.address, port: PORT }
  const load = { seconds, parallel }
  const run = () => iperf(contest.lab, sender, server, load)
  return (await contest.awake(entrant, run)).bitsPerSecond / 1e9
}
