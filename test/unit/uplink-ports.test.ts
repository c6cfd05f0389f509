/** Which uplinks routes may lead to: those that are attached, and at the start those that are about to be. */
import t from 'tap'
import { UplinkPorts } from '../../src/engine/uplink-ports.js'
import { DatapathMaps, MAP_SIZES } from '../../src/pipeline/datapath-maps.js'
import { PortMode, PortStatus } from '../../src/port/port-table.js'

const OWNER = 4242
const BEFORE = 4241

function tableOf() {
  const { ports: table } = DatapathMaps.inMemory(MAP_SIZES)
  table.request(3, 'eth0', PortMode.UPLINK)
  table.request(4, 'lxc-web', PortMode.POD)
  table.request(5, 'eth1', PortMode.UPLINK)
  return table
}

const report = (status: PortStatus) => ({ status, errno: 0, isNative: true, isZeroCopy: false })

t.test('while it starts all that are asked for, but one that could not be attached', (t) => {
  const table = tableOf()
  const uplinks = new UplinkPorts(table, OWNER)
  t.equal(uplinks.refresh(), true)
  t.same(uplinks.ports(), new Map(Object.entries({ eth0: 3, eth1: 5 })))
  table.setReport(3, OWNER, report(PortStatus.ATTACHED))
  t.equal(uplinks.refresh(), false, 'attached, as was expected')
  table.setReport(5, OWNER, report(PortStatus.FAILED))
  t.equal(uplinks.refresh(), true)
  t.same(uplinks.ports(), new Map(Object.entries({ eth0: 3 })))
  t.end()
})

t.test('afterwards those that this process has attached', (t) => {
  const table = tableOf()
  table.setReport(3, OWNER, report(PortStatus.ATTACHED))
  table.setReport(5, BEFORE, report(PortStatus.ATTACHED))
  const uplinks = new UplinkPorts(table, OWNER)
  uplinks.started()
  t.equal(uplinks.refresh(), true)
  t.same(uplinks.ports(), new Map(Object.entries({ eth0: 3 })))
  t.end()
})

t.end()
