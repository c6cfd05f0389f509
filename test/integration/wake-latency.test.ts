/**
 * spec.datapath.wakeLatencyMicroseconds: the kernel is asked for it as long as a datapath has it, and no longer,
 * also when the datapath is killed.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import t from 'tap'
import { holderOf, Role } from '../../src/daemon/process-lock.js'
import { LiveAgent } from '../support/live-agent.js'

/** The least of all requests on this machine; to read it asks for nothing. */
function leastOfAll(): number {
  const fd = openSync('/dev/cpu_dma_latency', 'r')
  const value = new Int32Array(1)
  readSync(fd, value)
  closeSync(fd)
  return value[0] as number
}

const before = leastOfAll()
const live = await LiveAgent.create('wake-latency')
t.after(() => live.close())
const spec = (microseconds: number) => `datapath:
  pinDirectory: ${live.pins.path}
  training: false
  wakeLatencyMicroseconds: ${microseconds}
`

t.test('the kernel is asked for it', async (t) => {
  live.writeNode(spec(0))
  await live.start()
  t.equal(leastOfAll(), 0)
})

t.test('another value comes with another datapath, and is told until then', async (t) => {
  await live.restart(spec(20))
  t.match((await live.status()).problems, [
    /wakeLatencyMicroseconds: 20, expected 0, .*"ringpath upgrade"/,
  ])
  const { code, stdout, stderr } = await live.cli('upgrade')
  t.equal(code, 0, stdout + stderr)
  await live.until('the other', async () => leastOfAll() === Math.min(before, 20))
  await live.until('nothing more', async () => (await live.status()).problems.length === 0)
})

t.test('it ends with the processes, killed or not', async (t) => {
  const roles = [Role.AGENT, Role.STANDBY, Role.DATAPATH]
  const holders = () => roles.map((role) => holderOf(live.path('state'), role))
  await live.until('a standby', async () => !holders().includes(undefined))
  for (const pid of holders()) process.kill(pid as number, 'SIGKILL')
  await live.until('the end', async () => leastOfAll() === before)
  t.equal(leastOfAll(), before)
})

t.end()
