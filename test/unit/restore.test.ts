/** An agent that begins takes over what the maps have, and touches nothing that is as the record says. */
import t from 'tap'
import { Applied } from '../../src/daemon/applied.js'
import { ControllerTarget } from '../../src/daemon/controller-target.js'
import { NodeController } from '../../src/daemon/node-controller.js'
import { PolicyController } from '../../src/daemon/policy-controller.js'
import type { NodeObject } from '../../src/daemon/reconcile.js'
import { restore } from '../../src/daemon/restore.js'
import { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import { PortMode } from '../../src/port/port-table.js'

const pod = (mac: string): NodeObject => ({
  kind: 'Endpoint',
  name: 'pod',
  spec: {
    id: 1,
    device: 'lxc1',
    address: '10.0.1.1',
    mac,
    nodeMac: '02:00:00:00:00:09',
    labels: { app: 'x' },
    ports: [],
  },
})

function agentOn(maps: DatapathMaps, directory: string) {
  const applied = new Applied(directory)
  const controller = new NodeController(maps, {})
  const { identities } = applied
  const policies = new PolicyController(controller, maps, { identities })
  return { applied, controller, policies, target: new ControllerTarget(controller, policies) }
}

for (const mac of ['02:aa:bb:00:00:01', '02:AA:BB:00:00:01']) {
  t.test(`an endpoint with the MAC address ${mac} stays as it is`, async (t) => {
    const maps = DatapathMaps.inMemory()
    const directory = t.testdir()
    const first = agentOn(maps, directory)
    const after = pod(mac)
    const change = { action: 'create', kind: 'Endpoint', name: 'pod', after, fields: [] } as const
    first.target.apply(change)
    first.applied.note(change)
    first.applied.save(first.policies.identities.snapshot(), {})
    const { changes } = maps.ports

    const second = agentOn(maps, directory)
    t.same(restore(second.applied, maps, second.controller, second.target), [])
    t.equal(maps.ports.mode(0), PortMode.POD)
    t.equal(maps.ports.changes, changes)
    t.equal(second.applied.objects.length, 1)
  })
}
