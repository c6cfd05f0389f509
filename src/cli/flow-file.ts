/** Flows as a pcapng file: the first 128 bytes of each packet that was told of, with what became of it. */
import type { FlowView } from '../observe/flow-view.js'
import type { CaptureWriter } from '../port/pcap/capture.js'

import { CommandError } from './client.js'

const ETHERNET = 1
const SAMPLE_BYTES = 128
const NANOSECONDS_PER_MILLISECOND = 1_000_000n

export class FlowFile {
  readonly #writer: CaptureWriter
  readonly #interfaces = new Map<number, number>()
  /** Flows written. */
  count = 0

  private constructor(writer: CaptureWriter) {
    this.#writer = writer
  }

  static async create(path: string): Promise<FlowFile> {
    const { createCapture } = await import('../port/pcap/open-capture.js')
    try {
      return new FlowFile(createCapture(path))
    } catch (error) {
      throw new CommandError(`--write ${path}: ${(error as Error).message}`)
    }
  }

  /** @param verdict in words */
  add(flow: FlowView, verdict: string): void {
    let index = this.#interfaces.get(flow.ingressPort)
    if (index === undefined) {
      const name = `port ${flow.ingressPort}`
      index = this.#writer.addInterface({ name, linkType: ETHERNET, snapLength: SAMPLE_BYTES })
      this.#interfaces.set(flow.ingressPort, index)
    }
    const time = BigInt(Date.parse(flow.time)) * NANOSECONDS_PER_MILLISECOND
    const bytes = Buffer.from(flow.sample, 'hex')
    this.#writer.write(index, time, bytes, {
      originalLength: Math.max(flow.bytes, bytes.length),
      comments: [commentOf(flow, verdict)],
    })
    // Whoever ends it by a signal has what was told until then.
    this.#writer.flush()
    this.count++
  }

  close(): void {
    this.#writer.close()
  }
}

function commentOf(flow: FlowView, verdict: string): string {
  const identities = `identity ${flow.sourceIdentity} to ${flow.destinationIdentity}`
  return `#${flow.id} ${verdict}; stage ${flow.stageName}; ${identities}; ${flow.connection}`
}
