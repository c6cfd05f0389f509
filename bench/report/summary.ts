/**
 * The README's figures: frames a second of our whole chain, and of what it was measured beside. They
 * stand between two marks, and whatever stood there is replaced.
 */
import type { RecordedResult } from '../lib/report.js'
import { latestByName } from './document.js'

const BEGIN = '<!-- figures: written by `npm run bench:report` -->'
const END = '<!-- end of figures -->'

const OURS = 'wire/full/64'
/** Results that are ours beside another's; the other's own result; and who that is. */
const BESIDE = [
  { name: OURS, its: 'wire/c-full/64', who: 'the same chain in C, on the same rings' },
  {
    name: 'peer/testpmd',
    its: 'peer/rate/testpmd',
    who: 'DPDK testpmd on AF_XDP, forwarding alone',
  },
  { name: 'peer/ovs', its: 'peer/rate/ovs', who: 'Open vSwitch on AF_XDP, forwarding alone' },
  { name: 'peer/bridge', its: 'peer/rate/bridge', who: 'Linux bridge (one core, we use two)' },
  {
    name: 'peer/nft-dnat',
    its: 'peer/rate/nft-dnat',
    who: 'Linux with nftables DNAT and conntrack (one core, we use two)',
  },
  {
    name: 'peer/redirect-peer',
    its: 'peer/rate/redirect-peer',
    who: 'tc `bpf_redirect_peer`, forwarding alone, in the kernel',
  },
  {
    name: 'peer/devmap',
    its: 'peer/rate/devmap',
    who: 'XDP_REDIRECT by a devmap, forwarding alone, in the kernel',
  },
] as const

const MILLION = 1e6
const NOT_MEASURED = 'not measured'

/** @throws Error when the text has no place for them */
export function withFigures(readme: string, recorded: readonly RecordedResult[]): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`the README has no ${BEGIN} before ${END}`)
  const before = readme.slice(0, begin + BEGIN.length)
  return `${before}\n${figureTable(recorded)}\n${readme.slice(end)}`
}

function figureTable(recorded: readonly RecordedResult[]): string {
  const results = new Map(latestByName(recorded).map((result) => [result.name, result]))
  const rate = (name: string): string => {
    const result = results.get(name)
    if (result === undefined || result.runs === 0) return NOT_MEASURED
    return `${(result.median / MILLION).toFixed(2)} M`
  }
  const rows = BESIDE.map(({ name, its, who }) => {
    const ratio = results.get(name)?.ratio?.toFixed(2) ?? NOT_MEASURED
    return `| ${who} | ${rate(its)} | ${ratio} |`
  })
  return [
    '| | frames a second | ours / its |',
    '|---|---|---|',
    `| **Ringpath: policy, connection tracking, service, VXLAN** | **${rate(OURS)}** | |`,
    ...rows,
  ].join('\n')
}
