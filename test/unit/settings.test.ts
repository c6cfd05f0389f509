/** The node's settings: each change voids what the flow lane remembers (src/maps/revision.ts). */
import t from 'tap'
import { NODE_SETTINGS_SPEC, NodeSettings } from '../../src/endpoint/node-settings.js'
import { ServiceSettings } from '../../src/lb/service-settings.js'
import { ArrayMap } from '../../src/maps/array-map.js'
import { Revisions } from '../../src/maps/revision.js'
import { NAT_SETTINGS_SPEC, NatSettings } from '../../src/nat/nat-settings.js'

const rowOf = (spec: typeof NODE_SETTINGS_SPEC): ArrayMap =>
  ArrayMap.create(spec, new SharedArrayBuffer(ArrayMap.bytesFor(spec)))

/** Names of the properties that can be assigned. */
const settersOf = (row: object): string[] =>
  Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(row)))
    .filter(([, { set }]) => set !== undefined)
    .map(([name]) => name)

t.test('every setting that is written counts as a change', async (t) => {
  const map = rowOf(NODE_SETTINGS_SPEC)
  const revisions = new Revisions([map])
  for (const settings of [new NodeSettings(map), new ServiceSettings(map)]) {
    const names = settersOf(settings)
    t.ok(names.length > 4, `${settings.constructor.name}: ${names.join(', ')}`)
    for (const name of names) {
      const before = revisions.sum
      Reflect.set(settings, name, 1)
      t.not(revisions.sum, before, name)
    }
  }
})

t.test('so do the settings of the NAT', async (t) => {
  const map = rowOf(NAT_SETTINGS_SPEC)
  const revisions = new Revisions([map])
  const before = revisions.sum
  new NatSettings(map).set(true, false, 1024, 2047)
  t.not(revisions.sum, before)
})

t.test('a sign of life of the agent is no change', async (t) => {
  const map = rowOf(NODE_SETTINGS_SPEC)
  const revisions = new Revisions([map])
  const node = new NodeSettings(map)
  const before = revisions.sum
  node.signAgentAlive(100)
  t.ok(node.isAgentAlive(101))
  t.equal(revisions.sum, before)
})
