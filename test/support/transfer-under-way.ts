/** A transfer in whose midst a test does something. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Server, type TransferReport, transferWithHash } from '../../src/lab/traffic.js'
import type { LiveNode, LivePod } from './live-node.js'

/** It has begun when so much of it came in by the sender's port. */
const BEGUN_BYTES = 1_000_000
const LOOK_MILLISECONDS = 20

export class TransferUnderWay {
  readonly report: Promise<TransferReport>
  /** Then it was too short for the test, which has to say so. */
  isOver = false

  private constructor(transfer: Promise<TransferReport>) {
    this.report = transfer.finally(() => {
      this.isOver = true
    })
    // Whoever waits for it to begin is told first.
    this.report.catch(() => undefined)
  }

  /** Waits until it has begun: making its file takes longer than connecting. */
  static async of(live: LiveNode, from: LivePod, to: Server, megabytes: number) {
    const bytes = () => live.portStatistics(from.port).receivedBytes
    const before = bytes()
    const transfer = new TransferUnderWay(transferWithHash(live.lab, from, to, megabytes))
    while (!transfer.isOver && bytes() < before + BEGUN_BYTES) await sleep(LOOK_MILLISECONDS)
    return transfer
  }
}
