/**
 * Two workers against one, transmit-bound: each is a source of its own on a veth of its own, with the
 * engine's exchange, and the far ends drop. Nothing else uses the cores, for on two of them a generator
 * would be what is measured.
 */
import { fileURLToPath } from 'node:url'
import { Lab, type Namespace } from '../../src/lab/lab.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, type Samples, summarize } from '../lib/result.js'

const FRAME_BYTES = 64
const MILLISECONDS = { full: 3_000, quick: 1_500, smoke: 100 } as const
const PROGRAM = fileURLToPath(new URL('./transmit.js', import.meta.url))

export const scaleBenchmark: Benchmark = {
  name: 'scale',
  isLong: true,

  problem: () =>
    Promise.resolve(
      process.getuid?.() === 0 ? undefined : 'it needs root, for namespaces and AF_XDP',
    ),

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const lab = await Lab.create({ name: 'scale' })
    try {
      const node = await lab.namespace('node')
      const first = await lab.pod(node, 'a', { address: '10.0.0.1' })
      const second = await lab.pod(node, 'b', { address: '10.0.0.2' })
      const one: number[] = []
      const two: number[] = []
      for (let round = 0; round < options.rounds; round++) {
        one.push(await transmit(lab, node, options, [first.device]))
        two.push(await transmit(lab, node, options, [first.device, second.device]))
        options.log(`scale: round ${round + 1}: ${one.at(-1)} and ${two.at(-1)} frames/s`)
      }
      const unit = 'frames/s'
      const alone: Samples = { name: 'scale/1-worker', unit, values: one }
      const note = `${FRAME_BYTES} bytes, both workers sources`
      return [
        summarize(alone),
        summarize({ name: 'scale/2-workers', unit, values: two, note }, alone),
      ]
    } finally {
      await lab.close()
    }
  },
}

async function transmit(
  lab: Lab,
  node: Namespace,
  { size }: BenchOptions,
  devices: readonly string[],
): Promise<number> {
  const args = [PROGRAM, `${FRAME_BYTES}`, `${MILLISECONDS[size]}`, ...devices]
  const { code, stdout, stderr } = await lab.exec(node, process.execPath, args)
  if (code !== 0) throw new Error(`the sources ended with ${code}: ${stderr}`)
  return Math.round((JSON.parse(stdout) as { framesPerSecond: number }).framesPerSecond)
}
