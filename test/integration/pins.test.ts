/**
 * Programs pinned in a bpffs: they stay on the devices when the datapath is gone, close the pods,
 * keep connections from being reset, and the next datapath goes on with them.
 */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { DatapathProcess } from '../../src/daemon/datapath-process.js'
import { ping } from '../../src/lab/traffic.js'
import { LiveNode, OUTSIDE_ADDRESS, UPLINK_ADDRESS } from '../support/live-node.js'
import type { PinDirectory } from '../support/pin-directory.js'
import { TransferUnderWay } from '../support/transfer-under-way.js'

const CLI = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))

const live = await LiveNode.create('pins', { hasUplink: true, isPinned: true })
t.after(() => live.close())
const { lab } = live
const pins = live.pins as PinDirectory
const client = await live.pod('client')
const server = await live.pod('server')
live.controller.setMasquerade({ enabled: true })
await live.start()
const seconds = (count: number) => new Promise((resolve) => setTimeout(resolve, count * 1000))

/** The programs of the node's devices, by their numbers in the kernel. */
async function programs(): Promise<string> {
  const { stdout } = await lab.exec(live.node, 'ip', ['-json', '-details', 'link', 'show'])
  const links = JSON.parse(stdout) as { ifname: string; xdp?: { prog: { id: number } } }[]
  return links.map(({ ifname, xdp }) => `${ifname} ${xdp?.prog.id ?? '-'}`).join(', ')
}

t.test(
  'pods of a killed datapath are closed by their program, and the next takes it over',
  async (t) => {
    t.equal(pins.devices.length, 4)
    t.equal((await ping(lab, client, server.address)).received, 3)
    const before = await programs()
    await live.datapath?.kill()
    t.equal(await programs(), before, 'the programs stay')
    t.equal((await ping(lab, client, server.address, { waitSeconds: 1 })).received, 0)
    t.equal(
      (await ping(lab, live.outside, UPLINK_ADDRESS)).received,
      3,
      'the node itself is reached',
    )
    await live.start()
    t.equal(await programs(), before, 'the same programs as before')
    const said = live.datapath?.output.join('\n') ?? ''
    const [, dropped] = /lxc-client attached .* has dropped (\d+) frames/.exec(said) ?? []
    t.ok(Number(dropped) >= 3, `what they dropped is counted: ${said}`)
    t.equal((await ping(lab, client, server.address)).received, 3)
    t.equal((await ping(lab, client, OUTSIDE_ADDRESS)).received, 3)
  },
)

t.test(
  'the kernel does not reset a masqueraded connection while no datapath is there',
  { timeout: 90_000 },
  async (t) => {
    const to = { ns: live.outside, address: OUTSIDE_ADDRESS, port: 7100 }
    const transfer = await TransferUnderWay.of(live, client, to, 400)
    await live.datapath?.kill()
    t.notOk(transfer.isOver, 'in the midst of it')
    await seconds(0.5)
    await live.start()
    const report = await transfer.report
    t.equal(report.receivedHash, report.sentHash)
  },
)

t.test('what is given up while no datapath is there is let go of by the next one', async (t) => {
  const late = await live.pod('late')
  await live.datapath?.stop()
  await live.start()
  t.ok(pins.devices.includes(late.device))
  await live.datapath?.stop()
  t.ok((await live.devicesWithXdp()).includes(late.device), 'a clean stop keeps pods closed, too')
  live.maps.ports.release(late.port)
  live.datapath = await DatapathProcess.start({
    stateDirectory: live.directory,
    networkNamespace: live.node.netns,
    pinDirectory: pins.path,
  })
  t.notOk(pins.devices.includes(late.device))
  t.notOk((await live.devicesWithXdp()).includes(late.device))
  t.equal((await ping(lab, client, server.address)).received, 3)
})

t.test('cleanup takes all programs off the devices', async (t) => {
  const args = ['--enable-source-maps', CLI, 'cleanup', '--state', live.directory]
  const { stdout } = await lab.exec(live.node, process.execPath, args)
  t.match(stdout, /datapath ended[\s\S]*programs pinned in .* removed/)
  t.same(await live.devicesWithXdp(), [])
  t.same(pins.devices, [])
})

t.test(
  'where nothing can be pinned the reason is told, and programs go with the process',
  async (t) => {
    live.datapath = await DatapathProcess.start({
      stateDirectory: live.directory,
      networkNamespace: live.node.netns,
      pinDirectory: '/proc/nowhere',
    })
    t.match(live.datapath.output.join('\n'), /programs are not pinned: pins \/proc\/nowhere: mkdir/)
    t.equal((await ping(lab, client, server.address)).received, 3)
    await live.datapath.kill()
    t.same(await live.devicesWithXdp(), [])
  },
)

t.end()
