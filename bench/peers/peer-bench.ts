/**
 * Our full chain beside everything else that carries frames between two veths on this machine, in
 * turn within each round. Each of `peer/...` is our frames per second, with the ratio to that peer's
 * of the same rounds, `peer/.../service` the same of our chain without the tunnel; `peer/rate/...` is what
 * the peer itself did.
 *
 * The peers forward and no more (nftables: DNAT and connection tracking besides), our chain does all
 * it does for a pod: policy, connection tracking, service translation, encapsulation.
 */
import { type Benchmark, type BenchOptions, STARTS } from '../lib/benchmark.js'
import { type BenchResult, summarize } from '../lib/result.js'
import { TARGETS } from '../report/targets.js'
import type { Contender } from '../wire/contender.js'
import { WIRE_FLOWS, wireProblem } from '../wire/prepare.js'
import { RingpathContender } from '../wire/ringpath-contender.js'
import { eachStart, type Figures, framesOf, notRun, runRounds } from '../wire/throughput.js'
import { YardstickContender } from '../wire/yardstick-contender.js'
import { Bridge, NftDnat, Redirect, Routing } from './kernel-peers.js'
import { Ovs } from './ovs.js'
import { Testpmd } from './testpmd.js'

const FRAME_BYTES = 64
const WINDOW_MILLISECONDS = { full: 250, quick: 250, smoke: 100 } as const
/** Rounds are short, and single ones swing: more of them than of other measures. */
const ROUNDS_FACTOR = { full: 6, quick: 2.5, smoke: 1 } as const

const OURS = 'full'
/** Without the tunnel, which no peer has: what nftables does, and policy. */
const SHORTER = 'service'

const PEERS: readonly Contender[] = [
  new NftDnat(),
  new Bridge(),
  new Routing(),
  new Redirect('redirect'),
  new Redirect('redirect_peer'),
  new Redirect('devmap'),
  new Testpmd(),
  new Ovs(),
]

/** When the program has run for that long, an overview begins no further round. */
const OVERVIEW_END_MILLISECONDS = 105_000
const isOfTarget = ({ name }: Contender): boolean =>
  TARGETS.some((target) => target.name === `peer/${name}`)

const OUR_CHAIN = { kind: 'chain', flows: WIRE_FLOWS } as const

export const peerBenchmark: Benchmark = {
  name: 'peer',

  problem: wireProblem,

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const { size, log, isOverview = false } = options
    const ours = new RingpathContender({ ...OUR_CHAIN, name: OURS, chain: OURS })
    const shorter = new RingpathContender({ ...OUR_CHAIN, name: SHORTER, chain: SHORTER })
    const everybody = [new YardstickContender('c-l2', 'poller'), ...PEERS]
    const peers = isOverview ? everybody.filter(isOfTarget) : everybody
    const contenders = [ours, ...(isOverview ? [] : [shorter]), ...peers]
    const starts: Figures[] = []
    let absent: ReadonlyMap<string, string> = new Map()
    const names = contenders.map(({ name }) => name)
    const roundsOptions = {
      rounds: Math.ceil((options.rounds * ROUNDS_FACTOR[size]) / STARTS[size]),
      windowMilliseconds: WINDOW_MILLISECONDS[size],
      frameBytes: FRAME_BYTES,
      log,
      endAt: isOverview ? OVERVIEW_END_MILLISECONDS : undefined,
    } as const
    await eachStart(
      options,
      () => contenders,
      async (contest) => {
        starts.push(await runRounds(contest, names, roundsOptions))
        absent = new Map([...absent, ...contest.absent])
      },
    )
    const chains = isOverview ? [OURS] : [OURS, SHORTER]
    return peers.flatMap((peer) => resultsOf(peer, chains, starts, absent))
  },
}

/** Of each of our chains beside a peer, and of the peer: in the starts in which both were there. */
function resultsOf(
  peer: Contender,
  chains: readonly string[],
  starts: readonly Figures[],
  absent: ReadonlyMap<string, string>,
): BenchResult[] {
  const rate = { contender: peer.name, name: `peer/rate/${peer.name}`, note: peer.description }
  const ours = chains.map((chain) => {
    const name = chain === OURS ? `peer/${peer.name}` : `peer/${peer.name}/${chain}`
    const frames = `${FRAME_BYTES} bytes, ${WIRE_FLOWS} flows`
    const note = `our chain "${chain}" / ${peer.description}; ${frames}`
    const own = framesOf(starts, { contender: chain, name, note }, [peer.name])
    const theirs = framesOf(starts, rate, [chain])
    if (own !== undefined && theirs !== undefined) return summarize(own, theirs)
    const reason = absent.get(peer.name) ?? absent.get(chain) ?? 'the two were never there together'
    return notRun(name, 'frames/s', reason)
  })
  const theirs = framesOf(starts, rate, [OURS]) ?? framesOf(starts, rate)
  return theirs === undefined ? ours : [...ours, summarize(theirs)]
}
