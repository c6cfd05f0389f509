/** XskExchange on real veth pairs in namespaces, with a real ping through it. Needs root. */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Lab, type Namespace } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import { ping } from '../../src/lab/traffic.js'
import type { PortStatistics } from '../../src/port/port.js'

const HUB = fileURLToPath(new URL('../support/xsk-hub.js', import.meta.url))

interface Answer {
  readonly counters: readonly PortStatistics[]
  readonly names: readonly string[]
  readonly lost: readonly number[]
  readonly inBurst: number
}

t.test('frames of real pods cross an XskExchange', async (t) => {
  const lab = await Lab.create({ name: 'port-xsk' })
  t.teardown(() => lab.close())
  const node = await lab.namespace('node')
  const [client, server] = [await lab.namespace('client'), await lab.namespace('server')]
  await lab.link({
    a: { ns: client, device: 'eth0', address: '10.77.0.1/24' },
    b: { ns: node, device: 'left' },
    queues: 2,
  })
  await lab.link({
    a: { ns: server, device: 'eth0', address: '10.77.0.2/24' },
    b: { ns: node, device: 'right' },
  })
  const hub = lab.spawn(node, process.execPath, ['--enable-source-maps', HUB])
  const start = await answerOf(hub, 'start')
  t.match(start, {
    queues: [{ queueCount: 2, isNative: true, isZeroCopy: false }, { queueCount: 1 }],
    refused: {
      missing: {
        code: 'EPORT_ATTACH',
        cause: 'EXDP_NO_DEVICE',
        message: /port 2 \(missing, pod\)/,
      },
      occupied: { code: 'EPORT_ATTACH', message: /the port is left already/ },
      twice: { code: 'EPORT_ATTACH', cause: 'EXDP_ATTACHED' },
      range: { code: 'EPORT_LIMIT' },
    },
  })
  const { wokenAfterMilliseconds } = start as { wokenAfterMilliseconds: number }
  t.ok(wokenAfterMilliseconds < 5000, 'another thread ends a wait')

  t.equal(await received(lab, client, 5), 5, 'ping crosses both ports')
  t.equal(await received(lab, client, 3, 1400), 3)
  t.match(await programsOn(lab, node), ['left', 'right'])

  const { counters, inBurst } = await command(hub, 'counters')
  const sum = (name: keyof PortStatistics) => counters[0][name] + counters[1][name]
  t.ok(sum('receivedFrames') >= 16, 'eight pings and their replies were counted')
  t.equal(sum('receivedFrames'), sum('sentFrames') + sum('sendDropped') + inBurst)
  t.equal(sum('receiveDropped'), 0)

  const detached = await command(hub, 'detach')
  t.same(detached.names, ['left', ''])
  t.match(await programsOn(lab, node), ['left'], 'a detached port has no program')
  t.equal(await received(lab, client, 2), 0)
  const whileDetached = await command(hub, 'counters')
  t.ok(whileDetached.counters[1].sendDropped > 0, 'what was sent to it is a counted drop')

  const again = await command(hub, 'attach')
  t.equal(again.counters[1].sendDropped, 0, 'counters begin at the attachment')
  t.equal(await received(lab, client, 3), 3, 'a port comes back at run time')
  t.same(again.lost, [])

  const before = await command(hub, 'counters')
  await lab.ip(server, ['link delete eth0'])
  t.equal(await received(lab, client, 1), 0)
  t.same((await lostPorts(hub)).lost, [1], 'a device that vanished is told')
  await command(hub, 'detach')

  const last = await command(hub, 'stop')
  t.ok(last.counters[0].receivedFrames > before.counters[0].receivedFrames)
  const closed = await answerOf(hub, 'close')
  t.match(closed, { free: 512, total: 512, onRings: 0 }, 'every frame is back')
  t.same((await hub.ended).code, 0)
  t.same(await programsOn(lab, node), [], 'no XDP program is left')
})

async function answerOf(hub: LabProcess, did: string): Promise<object> {
  const [line] = await hub.waitForOutput(new RegExp(`^\\{"did":"${did}".*\\}$`, 'm'))
  return JSON.parse(line)
}

/** The answer to a command: what the hub prints after it was written. */
async function command(hub: LabProcess, line: string): Promise<Answer> {
  const answers = () => hub.output.match(new RegExp(`^\\{"did":"${line}".*\\}$`, 'gm')) ?? []
  const before = answers().length
  hub.write(`${line}\n`)
  await hub.waitForOutput(new RegExp(`(?:^\\{"did":"${line}"[^]*?){${before + 1}}\\}$`, 'm'))
  return JSON.parse(answers()[before])
}

/** The kernel unbinds the socket some time after the device went. */
async function lostPorts(hub: LabProcess): Promise<Answer> {
  for (let tries = 0; tries < 50; tries++) {
    const answer = await command(hub, 'counters')
    if (answer.lost.length > 0) return answer
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return command(hub, 'counters')
}

/** Replies to `count` pings of the given payload. */
async function received(lab: Lab, from: Namespace, count: number, bytes = 56): Promise<number> {
  return (await ping(lab, from, '10.77.0.2', { count, sizeBytes: bytes })).received
}

/** Devices of the namespace that have an XDP program. */
async function programsOn(lab: Lab, ns: Namespace): Promise<string[]> {
  const { stdout } = await lab.exec(ns, 'ip', ['-json', '-details', 'link', 'show'])
  const links = JSON.parse(stdout) as { ifname: string; xdp?: object }[]
  return links.filter((link) => link.xdp !== undefined).map((link) => link.ifname)
}
