/**
 * What the benchmarks are held to. A name is a result's; where it is measured against a yardstick
 * the bound is for the ratio, otherwise for the median.
 */
import type { BenchResult } from '../lib/result.js'

export interface Target {
  readonly name: string
  /** In words, for the report. */
  readonly measure: string
  readonly of: 'ratio' | 'median'
  readonly atLeast?: number
  readonly atMost?: number
  /** What would be better still. */
  readonly aim?: number
  /** To be stated, whatever it is. */
  readonly isStatedOnly?: boolean
}

export const TARGETS: readonly Target[] = [
  {
    name: 'chain/full/1k',
    measure: 'full chain, 1 k flows: ns in TypeScript / in C (each frame asks the policy)',
    of: 'ratio',
    atMost: 1.6,
  },
  {
    name: 'chain/full/1M',
    measure: 'the same, 1 M flows, between renewals',
    of: 'ratio',
    atMost: 1.5,
  },
  {
    name: 'chain/full/1M/sustained',
    measure: 'the same, 1 M flows, 72 s with their renewals',
    of: 'ratio',
    isStatedOnly: true,
  },
  {
    name: 'wire/full/64',
    measure: 'full chain, 64 bytes: frames a second / of C on the same rings',
    of: 'ratio',
    atLeast: 0.95,
  },
  {
    name: 'lossless/full/64',
    measure: 'highest rate without loss / of C',
    of: 'ratio',
    atLeast: 0.95,
  },
  {
    name: 'latency/full/200k',
    measure: 'p99 at 200 kpps, spinning / of C',
    of: 'ratio',
    atMost: 1.2,
  },
  {
    name: 'setup/full',
    measure: 'new connections a second through the chain',
    of: 'median',
    atLeast: 1_000_000,
  },
  { name: 'alloc/full', measure: 'bytes allocated a packet', of: 'median', atMost: 0 },
  {
    name: 'alloc/collections',
    measure: 'collections in a minute at full load',
    of: 'median',
    atMost: 0,
  },
  {
    name: 'peer/testpmd',
    measure: 'our full chain / DPDK testpmd on AF_XDP, bare forwarding',
    of: 'ratio',
    atLeast: 1,
    aim: 1.15,
  },
  {
    name: 'peer/ovs',
    measure: 'our full chain / Open vSwitch on AF_XDP, bare forwarding',
    of: 'ratio',
    atLeast: 1,
    aim: 1.15,
  },
  {
    name: 'peer/nft-dnat',
    measure: 'our full chain (two cores) / nftables DNAT with conntrack (one core)',
    of: 'ratio',
    atLeast: 1,
    aim: 1.2,
  },
  {
    name: 'peer/bridge',
    measure: 'our full chain (two cores) / Linux bridge (one core)',
    of: 'ratio',
    atLeast: 1,
    aim: 1.2,
  },
  {
    name: 'peer/redirect-peer',
    measure: 'our full chain / tc bpf_redirect_peer',
    of: 'ratio',
    isStatedOnly: true,
  },
  {
    name: 'peer/devmap',
    measure: 'our full chain / XDP_REDIRECT by devmap',
    of: 'ratio',
    isStatedOnly: true,
  },
  {
    name: 'scale/2-workers',
    measure: 'two workers / one, transmit-bound',
    of: 'ratio',
    atLeast: 1.8,
  },
  {
    name: 'memory/connection',
    measure: 'bytes per tracked connection at 1 M connections',
    of: 'median',
    atMost: 160,
  },
  {
    name: 'idle/poll',
    measure: 'CPU of an idle datapath in poll mode, % of a core',
    of: 'median',
    atMost: 1,
  },
  {
    name: 'idle/first-packet',
    measure: 'extra delay of the first packet after idle, µs',
    of: 'median',
    atMost: 100,
  },
  {
    name: 'idle/awake/poll',
    measure: 'the same CPU with `--wake-latency 0`: idle cores of the machine do not halt',
    of: 'median',
    atMost: 1,
  },
  {
    name: 'idle/awake/first-packet',
    measure: 'the same delay with `--wake-latency 0`',
    of: 'median',
    atMost: 100,
  },
]

export type Judgement = 'reached' | 'missed' | 'stated' | 'not measured'

/** Half of the last digit shown: a thousandth of a byte a packet is the watch, not an allocation. */
const NOTHING = 0.05

export function judge(target: Target, result: BenchResult | undefined): Judgement {
  // Nothing against nothing has no ratio, and is not enough.
  if (target.atLeast !== undefined && result?.median === 0) return 'missed'
  const value = result === undefined ? undefined : valueFor(target, result)
  if (value === undefined) return 'not measured'
  if (target.isStatedOnly === true) return 'stated'
  const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = target
  return value >= atLeast && value <= atMost + NOTHING * (atMost === 0 ? 1 : 0)
    ? 'reached'
    : 'missed'
}

/** Undefined also where a ratio is asked for and the yardstick could not run, or has nothing. */
export function valueFor(target: Target, result: BenchResult): number | undefined {
  const value = target.of === 'ratio' ? result.ratio : result.median
  return Number.isFinite(value) ? value : undefined
}

export function boundOf(target: Target): string {
  if (target.isStatedOnly === true) return 'stated'
  const bound = target.atLeast === undefined ? `≤ ${target.atMost}` : `≥ ${plain(target.atLeast)}`
  return target.aim === undefined ? bound : `${bound}; aim ${target.aim}`
}

const plain = (value: number): string => (value >= 1e6 ? `${value / 1e6} M` : String(value))
