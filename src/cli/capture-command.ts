/**
 * `ringpath capture`: what the datapath tells of packets, as a pcapng file whose comments say what
 * became of each. Not every packet: first and last ones of connections, verdicts and drops, the
 * first 128 bytes of each.
 */
import type { Command } from 'commander'
import type { Flow } from '../observe/flow.js'
import { type FlowOptions, followFlows, verdictText, withFilters } from './flow-commands.js'
import { wholeNumber } from './options.js'
import { print } from './output.js'

interface CaptureOptions extends FlowOptions {
  readonly write: string
  readonly seconds?: number
  readonly count?: number
}

const ETHERNET = 1
const SAMPLE_BYTES = 128
const NANOSECONDS_PER_MILLISECOND = 1_000_000n

export function addCaptureCommand(program: Command): void {
  const command = program
    .command('capture')
    .description('what is told of packets, as pcapng with comments for Wireshark')
    .requiredOption('-w, --write <file>', 'the file: .pcapng, or .pcap without comments')
    .option('--seconds <seconds>', 'end after so long', wholeNumber(1, 86_400))
    .option('--count <packets>', 'end after so many', wholeNumber(1, 1_000_000_000))
  withFilters(command)
    .addHelpText(
      'after',
      `
Each packet's comment has the verdict, the last stage, the identities, and its number for
"ringpath why". Drops are all there; of connections that go on, only what is told.

Example:
  ringpath capture -w drops.pcapng --verdict dropped --seconds 10`,
    )
    .action(capture)
}

async function capture(options: CaptureOptions): Promise<void> {
  const { createCapture } = await import('../port/pcap/open-capture.js')
  const writer = createCapture(options.write)
  const interfaces = new Map<number, number>()
  let count = 0
  const end = (): void => {
    writer.close()
    print(`${count} packets in ${options.write}`)
    process.exit(0)
  }
  process.once('SIGINT', end)
  if (options.seconds !== undefined) setTimeout(end, options.seconds * 1_000)
  const isFollowing = options.seconds !== undefined || options.follow
  for await (const flow of followFlows({ ...options, follow: isFollowing })) {
    // A pcap file has room for one interface, whatever its name.
    const key = options.write.endsWith('.pcap') ? 0 : flow.ingressPort
    let index = interfaces.get(key)
    if (index === undefined) {
      const name = `port ${key}`
      index = writer.addInterface({ name, linkType: ETHERNET, snapLength: SAMPLE_BYTES })
      interfaces.set(key, index)
    }
    const time = BigInt(Date.parse(flow.time)) * NANOSECONDS_PER_MILLISECOND
    const bytes = Buffer.from(flow.sample, 'hex')
    writer.write(index, time, bytes, {
      originalLength: Math.max(flow.bytes, bytes.length),
      comments: [commentOf(flow)],
    })
    count++
    if (count === options.count) break
  }
  end()
}

function commentOf(flow: Flow): string {
  const identities = `identity ${flow.sourceIdentity} to ${flow.destinationIdentity}`
  return `#${flow.id} ${verdictText(flow)}; stage ${flow.stage}; ${identities}; ${flow.connection}`
}
