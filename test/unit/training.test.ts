/**
 * Training before the first packet (src/engine/training): what it has to meet, how long it may take,
 * and that nothing of a real node is touched by it.
 */
import t from 'tap'
import { Training, trainPipeline } from '../../src/engine/training/training.js'
import { trainingMaps } from '../../src/engine/training/training-node.js'
import { readMetrics } from '../../src/monitor/metrics.js'
import { DropReason } from '../../src/packet/drop-reason.js'
import { ip } from '../support/service-node.js'
import { OUTSIDE_ADDRESS, TestNode } from '../support/test-node.js'

const ROUNDS = 16

t.test(
  'training takes every kind of way: forwarded, answered, and dropped for many reasons',
  async (t) => {
    const maps = trainingMaps()
    const training = new Training(maps)
    for (let round = 0; round < ROUNDS; round++) training.round(round)
    const reasons = new Set(readMetrics(maps.metrics).map(({ reason }) => reason))
    for (const drop of [
      DropReason.INVALID_SOURCE_IP,
      DropReason.POLICY_DENY,
      DropReason.INVALID,
      DropReason.CT_INVALID_HEADER,
      DropReason.UNSUPPORTED_L2,
      DropReason.UNSUPPORTED_L3,
      DropReason.NO_SERVICE_BACKEND,
      DropReason.NO_FIB,
      DropReason.VLAN_FILTERED,
    ]) {
      t.ok(reasons.has(-drop), `drop reason ${-drop}`)
    }
    t.ok(reasons.has(0), 'forwarded')
    t.ok(reasons.has(101), 'answered')
    t.ok(maps.nat.snat.size > 0, 'mappings')
    t.ok(training.framesRepeated > 0, 'the flow lane repeats')
  },
)

t.test('training ends when its time is over, or its rounds', async (t) => {
  t.equal(trainPipeline({ roundsMax: 2, millisecondsMax: 60_000 }).rounds, 2)
  t.equal(trainPipeline({ millisecondsMax: 0 }).rounds, 0)
})

t.test('training leaves no trace in the maps of a node beside it', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.send(pod.port, ip(pod, OUTSIDE_ADDRESS).udp({ from: 40000, to: 53 }).bytes())
  const state = () =>
    [...node.maps.tables, node.maps.metrics, node.maps.portStatistics, node.maps.nat.tries].map(
      ({ words }) =>
        Buffer.from(words.buffer, words.byteOffset, words.byteLength).toString('base64'),
    )
  const before = state()
  trainPipeline({ roundsMax: 4 })
  t.same(state(), before)
  node.close()
})
