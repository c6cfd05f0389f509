/** What can be asked of the NAT: how full it is, how hard ports are to find, and toward where. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readNatReport } from '../../src/nat/nat-report.js'
import { NodeMetrics } from '../../src/observe/metrics.js'
import { NameBook } from '../../src/observe/names.js'
import { NodeView } from '../../src/observe/node-view.js'
import { natNode, outbound, sendOut } from '../support/nat-node.js'

const NO_GAUGES = {
  isDatapathUp: false,
  datapathDeaths: 0,
  repairSeconds: 0,
  eventsSeen: 0,
  eventsLost: 0,
  problems: 0,
  failures: 0,
}

t.test('how full the NAT is and toward where can be asked', async (t) => {
  const node = natNode()
  const [a, b] = [node.pod(), node.pod()]
  for (let i = 0; i < 5; i++) sendOut(node, a, outbound(a).udp({ from: 40000 + i, to: 53 }))
  sendOut(node, b, outbound(b).udp({ from: 40000, to: 53 }))
  const report = readNatReport(node.maps.nat)
  t.equal(report.entries, 12)
  t.equal(report.capacity, 4096)
  t.equal(report.destinations[0]?.ports, 6)
  t.equal(
    report.tries.reduce((sum, n) => sum + n, 0),
    6,
  )
  t.equal(report.tries[0], 5, 'all but one kept their port at once')
  t.equal(report.exhausted, 0)
  const directory = mkdtempSync(join(tmpdir(), 'rp-maps-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const view = new NodeView(
    directory,
    node.maps,
    () => new NameBook(),
    () => 0,
  )
  const metrics = await new NodeMetrics(view, () => NO_GAUGES).text()
  t.match(metrics, /^ringpath_nat_mappings_total\{tries="0"\} 5$/m)
  t.match(metrics, /^ringpath_nat_exhausted_total 0$/m)
  t.match(metrics, /^ringpath_nat_destination_ports\{address="192.0.2.2",.*port="53".*\} 6$/m)
  node.close()
})

t.end()
