/**
 * The parts by themselves, with the package `benchmark`: reading headers, checksums, the flow hash
 * and Maglev. The maps are in micro-maps.ts; what stages cost, each in its chain, tells --explain.
 */
import BenchmarkJs from 'benchmark'
import { flowHash } from '../src/conntrack/flow-hash.js'
import { fillMaglev, maglevHash } from '../src/lb/maglev.js'
import { PacketBuffer } from '../src/packet/packet-buffer.js'
import * as checksums from '../src/wire/checksum.js'
import * as ethernet from '../src/wire/ethernet.js'
import * as ipv4 from '../src/wire/ipv4.js'
import { Protocol } from '../src/wire/protocols.js'
import * as tuple from '../src/wire/tuple.js'
import { firstFrame } from './chain/chain-rig.js'
import type { Benchmark, BenchOptions } from './lib/benchmark.js'
import { MEMORY_DEVICES } from './lib/node-scenario.js'
import { type BenchResult, summarize } from './lib/result.js'

/** Operations of one call, so that the call itself does not count. */
const OPERATIONS = 1000
const SECONDS = { full: 1, quick: 0.2, smoke: 0.005 } as const
const FRAME_BYTES_LARGE = 1514
const BACKENDS = 100
const MAGLEV_SIZE = 16_381
const NANOSECONDS = 1e9
const L3 = ethernet.ETHERNET_HEADER_BYTES
const L4 = L3 + ipv4.IPV4_HEADER_BYTES

interface Part {
  readonly name: string
  /** One operation; the sum of what it answers keeps a compiler from leaving it out. */
  run(i: number): number
}

function parts(): Part[] {
  const large = firstFrame(MEMORY_DEVICES, 'full', FRAME_BYTES_LARGE)
  const packet = new PacketBuffer(large.buffer, large.length)
  packet.attach(0, large.length)
  const words = new Int32Array(tuple.TUPLE_WORDS)
  tuple.readTuple(packet, L3, L4, Protocol.UDP, words, 0)
  const places = new Int32Array(MAGLEV_SIZE)
  const backends = Array.from({ length: BACKENDS }, (_, i) => {
    return { id: i + 1, address4: 0x0a000000 + i, port: 80, weight: 1 }
  })
  fillMaglev(places, backends, 1)
  const checksumOf = (bytes: number) => checksums.sumBytes(packet, L4, bytes, 0)
  return [
    {
      name: 'header/read-tuple',
      run: () => tuple.readTuple(packet, L3, L4, Protocol.UDP, words, 0),
    },
    { name: 'header/ipv4-valid', run: () => (ipv4.isValid(packet, L3) ? 1 : 0) },
    { name: 'checksum/update-32', run: (i) => checksums.update32(i & 0xffff, 0x0a000001, i) },
    { name: 'checksum/30-bytes', run: () => checksumOf(30) },
    { name: 'checksum/1480-bytes', run: () => checksumOf(1480) },
    { name: 'hash/flow', run: (i) => flowHash(words, 0, i) },
    {
      name: 'maglev/choose',
      run: (i) => places[(maglevHash(words, 0, i, Protocol.UDP, 1) >>> 0) % MAGLEV_SIZE] as number,
    },
  ]
}

export const partsBenchmark: Benchmark = {
  name: 'micro',

  problem: () => Promise.resolve(undefined),

  run(options: BenchOptions): Promise<BenchResult[]> {
    return Promise.resolve(parts().map((part) => measure(part, options)))
  },
}

function measure(part: Part, options: BenchOptions): BenchResult {
  let sum = 0
  const call = () => {
    for (let i = 0; i < OPERATIONS; i++) sum = (sum + part.run(i)) | 0
  }
  const bench = new BenchmarkJs(part.name, call, { maxTime: SECONDS[options.size] })
  bench.run()
  const values = bench.stats.sample.map((seconds) => (seconds * NANOSECONDS) / OPERATIONS)
  const note = `sum ${sum}`
  return summarize({ name: `micro/${part.name}`, unit: 'ns/op', values, note })
}
