/**
 * TCP from pod to pod by iperf3: through `ringpath datapath`, and through the kernel's routing on
 * the same kind of veths, where segments stay large from end to end (TSO), which XDP on a veth ends.
 */
import { iperf } from '../../src/lab/traffic.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, summarize } from '../lib/result.js'
import { Routing } from '../peers/kernel-peers.js'
import { Contest, type Entrant } from './contest.js'
import { DatapathContender } from './datapath-contender.js'
import { WIRE_FLOWS, wireProblem } from './prepare.js'
import type { Track } from './track.js'

const SECONDS = { full: 5, quick: 1, smoke: 1 } as const
/** One that the scenario's policy lets in. */
const PORT = 9090
const YARDSTICK = 'routing'
const CONNECTIONS = [1, 4] as const

export const tcpBenchmark: Benchmark = {
  name: 'tcp',
  problem: wireProblem,

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const ours = { name: 'pod', chain: 'pod', idle: 'adaptive', flows: WIRE_FLOWS } as const
    const contenders = [new Routing(), new DatapathContender(ours)]
    const contest = await Contest.open(contenders, options.log)
    try {
      for (const { track } of contest.entrants.values()) await addWaysBack(track)
      const results: BenchResult[] = []
      for (const parallel of CONNECTIONS) {
        results.push(...(await runRounds(contest, parallel, options)))
      }
      return results
    } finally {
      await contest.close()
    }
  },
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
  parallel: number,
  { size, rounds, log }: BenchOptions,
): Promise<BenchResult[]> {
  const entrants = [...contest.entrants.values()]
  const values = new Map<string, number[]>(entrants.map(({ contender }) => [contender.name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const entrant of entrants) {
      const gigabits = await transfer(contest, entrant, parallel, SECONDS[size])
      values.get(entrant.contender.name)?.push(gigabits)
      log(`${entrant.contender.name}, ${parallel} connections: ${gigabits.toFixed(2)} Gbit/s`)
    }
  }
  const samples = (name: string) => ({
    name: `tcp/${name}/${parallel}`,
    unit: 'Gbit/s',
    values: values.get(name) ?? [],
    note: `iperf3, ${parallel} connections, MTU 1500`,
  })
  return entrants.map(({ contender: { name } }) =>
    name === YARDSTICK ? summarize(samples(name)) : summarize(samples(name), samples(YARDSTICK)),
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
