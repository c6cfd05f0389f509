/** One thread swaps an endpoint's policy as fast as it can while another one asks it. */
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { NodeController } from '../../src/daemon/node-controller.js'
import { Direction } from '../../src/packet/verdict.js'
import { DatapathMaps, type MapSizes } from '../../src/pipeline/datapath-maps.js'
import type { EndpointPolicy, PolicyRule } from '../../src/policy/policy-rule.js'
import {
  ASKED_PROTOCOL,
  type AskerJob,
  type AskerReport,
  FOE,
  FRIEND,
} from '../support/policy-asker.js'

const SWAPS = 4000
const SIZES: MapSizes = { connections: 1024, identities: 1024, policies: 4096, events: 64 }

/** The foe's deny is what is written, and deleted, first. */
function policyOfTurn(turn: number): EndpointPolicy {
  const direction = Direction.INGRESS
  const others = Array.from({ length: 10 }, (_, i): PolicyRule => {
    const port = 1000 + turn * 10 + i
    return {
      direction,
      action: 'allow',
      identities: [400 + i],
      ports: [
        { protocol: ASKED_PROTOCOL, firstPort: port & 0x7fff, lastPort: (port & 0x7fff) + 5 },
      ],
    }
  })
  const rules: PolicyRule[] = [
    { direction, action: 'deny', identities: [FOE] },
    { direction, action: 'allow', identities: [FRIEND] },
    ...others,
    { direction, action: 'allow', ports: [{ protocol: ASKED_PROTOCOL }] },
  ]
  return { enforceIngress: true, enforceEgress: true, rules }
}

t.test('whoever asks while a policy is swapped gets the answer of a whole one', async (t) => {
  const buffers = new Map<string, SharedArrayBuffer>()
  const maps = new DatapathMaps((name, bytes) => {
    const buffer = new SharedArrayBuffer(bytes)
    buffers.set(name, buffer)
    return buffer
  }, SIZES)
  const controller = new NodeController(maps, { maglevTableSize: 251 })
  const mac = '02:00:00:00:00:01'
  const place = { device: 'pod1', address: '10.0.1.1', mac, nodeMac: mac }
  const port = controller.addEndpoint({ id: 1, identity: 310, ...place }, policyOfTurn(0))
  const control = new SharedArrayBuffer(8)
  const words = new Int32Array(control)
  const workerData: AskerJob = { buffers, sizes: SIZES, port, control }
  const worker = new Worker(new URL('../support/policy-asker.js', import.meta.url), { workerData })
  const result = new Promise<AskerReport>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  try {
    while (Atomics.load(words, 1) === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    for (let turn = 1; turn <= SWAPS; turn++) controller.setPolicy(1, policyOfTurn(turn))
  } finally {
    Atomics.store(words, 0, 1)
  }
  const { asked, wrong } = await result
  t.equal(wrong, 0, `${asked} answers during ${SWAPS} swaps`)
  t.ok(asked > SWAPS, `${asked} answers`)
})
