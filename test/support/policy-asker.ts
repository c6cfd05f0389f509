/**
 * The other thread of policy-threads.test.ts: asks a node's policy about two senders, as the
 * datapath would, until it is told to stop, and reports how often the answer was wrong.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { Direction } from '../../src/packet/verdict.js'
import { PacketContext } from '../../src/pipeline/context.js'
import { DatapathMaps, type MapSizes } from '../../src/pipeline/datapath-maps.js'
import { FrameTable } from '../../src/pipeline/frame-table.js'
import { PolicyCheck } from '../../src/pipeline/policy-check.js'

export interface AskerJob {
  /** Memory of each map, by name. */
  readonly buffers: ReadonlyMap<string, SharedArrayBuffer>
  readonly sizes: MapSizes
  /** Port of the endpoint whose policy is asked. */
  readonly port: number
  /** [0] told to stop, [1] has begun. */
  readonly control: SharedArrayBuffer
}

export interface AskerReport {
  readonly asked: number
  readonly wrong: number
}

/** Always allowed, and always denied though anybody else is allowed. */
export const FRIEND = 300
export const FOE = 301
export const ASKED_PROTOCOL = 6
const POLICY_DENY = -181
const BURST = 200
const FOES_SHARE = 20

function ask({ buffers, sizes, port, control }: AskerJob): AskerReport {
  const maps = new DatapathMaps((name) => buffers.get(name) as SharedArrayBuffer, sizes)
  const state = maps.stateFor(0, 1)
  const check = new PolicyCheck(state, Direction.INGRESS)
  const ctx = new PacketContext(new PacketBuffer(new ArrayBuffer(2048), 2048), new FrameTable(1))
  ctx.load(0, port)
  ctx.protocol = ASKED_PROTOCOL
  ctx.icmpType = -1
  const row = maps.endpoints.rowStart(port)
  const words = new Int32Array(control)
  let asked = 0
  let wrong = 0
  Atomics.store(words, 1, 1)
  while (Atomics.load(words, 0) === 0) {
    for (let i = 0; i < BURST; i++) {
      const isFoe = i % FOES_SHARE === 0
      const verdict = check.judge(ctx, row, isFoe ? FOE : FRIEND)
      if (verdict !== (isFoe ? POLICY_DENY : 0)) wrong++
    }
    asked += BURST
  }
  return { asked, wrong }
}

if (parentPort !== null) parentPort.postMessage(ask(workerData as AskerJob))
