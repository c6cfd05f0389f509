/** A capture on a node in memory: its ring in a directory of its own, its worker's task by hand. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monotonicTime } from 'xdp-socket-napi'
import { CaptureTask, openCaptureRing } from '../../src/engine/capture-task.js'
import { CaptureRecord } from '../../src/monitor/capture.js'
import { type CaptureRequest, captureWish } from '../../src/observe/capture-request.js'
import { CaptureSession } from '../../src/observe/capture-session.js'
import { endpointRows } from '../../src/observe/endpoint-view.js'
import { NameBook } from '../../src/observe/names.js'
import type { TestNode } from './test-node.js'

export interface Captured {
  readonly point: number
  readonly record: Int32Array
  readonly frame: Buffer
  readonly lostBefore: number
}

export class CaptureNode {
  readonly directory = mkdtempSync(join(tmpdir(), 'rp-capture-'))
  readonly node: TestNode
  readonly task: CaptureTask
  readonly log: string[] = []
  #session: CaptureSession | undefined

  constructor(node: TestNode) {
    this.node = node
    const open = (worker: number) => openCaptureRing(this.directory, worker)
    const log = (line: string): void => void this.log.push(line)
    this.task = new CaptureTask(node.maps.capture, node.pipeline, node.packet, open, log)
  }

  begin(request: CaptureRequest): CaptureSession {
    const rows = endpointRows(this.node.maps, new NameBook(), 0)
    const wish = captureWish(request, rows)
    const session = new CaptureSession(
      this.directory,
      this.node.maps,
      wish,
      request.bufferMebibytes,
    )
    this.#session = session
    this.step()
    return session
  }

  /** The worker looks at what is wanted. @param laterSeconds than now */
  step(laterSeconds = 0): void {
    this.task.step(monotonicTime().seconds + laterSeconds)
  }

  take(): Captured[] {
    const found: Captured[] = []
    this.#session?.read(100_000, (record, lostBefore) => {
      const bytes = record[CaptureRecord.CAPTURED_BYTES] ?? 0
      const frame = Buffer.alloc(bytes + 4)
      for (let i = 0; i < bytes; i += 4) {
        frame.writeInt32BE(record[CaptureRecord.FRAME + (i >> 2)] ?? 0, i)
      }
      const point = record[CaptureRecord.POINT] ?? 0
      found.push({ point, record: record.slice(), frame: frame.subarray(0, bytes), lostBefore })
    })
    return found
  }

  close(): void {
    this.#session?.close()
    this.task.close()
    this.node.close()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
