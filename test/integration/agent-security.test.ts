/** What docs/security.md claims of a running agent: modes of its files, and its capabilities. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ping } from '../../src/lab/traffic.js'
import { LiveAgent } from '../support/live-agent.js'

const live = await LiveAgent.create('agent-security')
t.after(() => live.close())
const client = await live.pod('client', '10.0.1.1')
const server = await live.pod('server', '10.0.1.2')

/** As systemd does it: nothing is left to get the others back. */
function unitCapabilities(): string {
  const unit = readFileSync('packaging/ringpath-agent.service', 'utf8')
  const [, names = ''] = /^CapabilityBoundingSet=(.*)$/m.exec(unit) ?? []
  return names
    .split(' ')
    .map((name) => `+${name.replace('CAP_', '').toLowerCase()}`)
    .join(',')
}

t.test('the unit’s capabilities are enough', async (t) => {
  const sets = `-all,${unitCapabilities()}`
  await live.start([], ['setpriv', '--no-new-privs', '--bounding-set', sets, '--inh-caps', '-all'])
  const { agent, datapath } = await live.status()
  for (const pid of [agent.pid, datapath.pid]) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const [, bounding = ''] = /^CapBnd:\s+(\w+)$/m.exec(status) ?? []
    const count = BigInt(`0x${bounding}`).toString(2).replaceAll('0', '').length
    t.equal(count, unitCapabilities().split(',').length, `CapBnd ${bounding}`)
  }
  t.equal((await ping(live.lab, client, server.address)).received, 3)
  t.equal((await ping(live.lab, client, '10.0.0.1')).received, 3)
})

t.test('maps, records and logs are for their owner, the socket for one group too', async (t) => {
  for (const directory of ['state', 'data']) {
    const path = live.path(directory)
    t.equal(statSync(path).mode & 0o777, 0o700, directory)
    for (const name of readdirSync(path)) {
      const mode = statSync(join(path, name)).mode & 0o777
      if (name === 'api.sock') t.equal(mode, 0o660, name)
      else t.equal(mode & 0o077, 0, `${name} ${mode.toString(8)}`)
    }
  }
})

t.test('agent and datapath listen on no network', async (t) => {
  const { stdout } = await live.lab.exec(live.node, 'ss', ['-Hltun'])
  t.equal(stdout, '')
})

t.end()
