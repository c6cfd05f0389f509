/** Captures on a node at work: what tshark reads in them, and what tcpdump in the pod saw. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { CaptureStatus } from '../../src/daemon/capture-service.js'
import { run } from '../../src/lab/command.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import { httpGet, httpServer, ping } from '../../src/lab/traffic.js'
import { isCaptureOn } from '../../src/observe/capture-session.js'
import { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import { readCapture } from '../../src/port/pcap/open-capture.js'
import { LiveAgent } from '../support/live-agent.js'

const live = await LiveAgent.create('capture')
t.after(() => live.close())
const client = await live.pod('client', '10.0.1.1')
const server = await live.pod('server', '10.0.1.2')
const { lab } = live
await live.start()
const web = await httpServer(lab, { ns: server, address: server.address, port: 8080 }, 'docs')
const maps = DatapathMaps.openFiles(live.path('state'))

const ready = (capture: LabProcess) => capture.waitForOutput(/capturing/)
const over = (): Promise<void> => live.until('its end', async () => !isCaptureOn(maps), 8_000)

/** A capture that was begun and is ended by SIGINT; resolves with what it said. */
async function captured(args: readonly string[], traffic: () => Promise<unknown>): Promise<string> {
  const capture = live.spawnCli('capture', ...args)
  await ready(capture)
  await traffic()
  await new Promise((resolve) => setTimeout(resolve, 300))
  process.kill(capture.pid ?? 0, 'SIGINT')
  await capture.ended
  return capture.output
}

const FIELDS = [
  'frame.comment',
  'frame.interface_name',
  'frame.len',
  'frame.cap_len',
  'ip.checksum.status',
  'tcp.checksum.status',
]

/** What tshark shows of each frame. */
async function tshark(file: string): Promise<Record<string, string>[]> {
  const checks = ['-o', 'ip.check_checksum:TRUE', '-o', 'tcp.check_checksum:TRUE']
  const fields = FIELDS.flatMap((field) => ['-e', field])
  const args = ['-r', file, '-T', 'fields', '-E', 'separator=/t', ...checks, ...fields]
  const { stdout } = await run('tshark', args)
  const lines = stdout.split('\n').filter((line) => line !== '')
  return lines.map((line) => {
    const values = line.split('\t')
    return Object.fromEntries(FIELDS.map((field, i) => [field, values[i] ?? '']))
  })
}

function framesOf(file: string): string[] {
  const reader = readCapture(readFileSync(file))
  const frames: string[] = []
  for (let frame = reader.next(); frame !== null; frame = reader.next()) {
    frames.push(Buffer.from(frame.bytes).toString('hex'))
  }
  return frames
}

t.test('frames that leave for a pod are those that tcpdump sees there', async (t) => {
  const seen = live.path('seen.pcap')
  const filter = ['tcp', 'port', '8080']
  const tcpdump = [
    '--immediate-mode',
    '-i',
    'eth0',
    '-Q',
    'in',
    '-s',
    '0',
    '-U',
    '-w',
    seen,
    ...filter,
  ]
  const watcher = lab.spawn(server, 'tcpdump', tcpdump)
  await watcher.waitForOutput(/listening on/)
  const file = live.path('whole.pcapng')
  const args = ['-w', file, '--at', 'server:out', '--to-port', '8080', '--protocol', 'tcp']
  const said = await captured(args, async () => {
    for (let n = 0; n < 3; n++) await httpGet(lab, client, `http://${server.address}:8080/`)
  })
  await watcher.stop('SIGINT')
  const ours = framesOf(file)
  t.ok(ours.length >= 12, `${ours.length} frames`)
  t.match(said, new RegExp(`\n${ours.length} frames in .*whole.pcapng\n`), 'nothing lost')
  t.same(ours, framesOf(seen))
  for (const frame of await tshark(file)) {
    t.match(frame, {
      'frame.comment':
        /^packet \d+ at egress of default\/server \(.*\); FORWARDED to default\/server/,
      'frame.interface_name': `${server.device} (default/server)`,
      'ip.checksum.status': '1',
      'tcp.checksum.status': '1',
    })
    t.equal(frame['frame.len'], frame['frame.cap_len'])
  }
})

t.test('a whole transfer is captured on both sides of the node; the lane is told of', async (t) => {
  const file = live.path('both.pcapng')
  await captured(['-w', file, '--at', 'client,server', '--port', '8080', '--snap', '96'], () =>
    httpGet(lab, client, `http://${server.address}:8080/performance.md`),
  )
  const frames = await tshark(file)
  const at = (pattern: RegExp) => frames.filter((f) => pattern.test(f['frame.comment'] ?? ''))
  t.equal(at(/at ingress/).length, at(/at egress/).length)
  t.ok(at(/carried by the flow lane/).length > 0, 'established packets')
  t.ok(at(/last stage IPV4_TO_ENDPOINT; ingress of default\/server/).length > 0, 'first ones')
  t.ok(frames.every((f) => Number(f['frame.cap_len']) <= 96))
  t.ok(frames.some((f) => Number(f['frame.len']) > 96))
})

t.test('drops and stages are captured with reason, stage and sides', async (t) => {
  live.manifest(
    'deny.yaml',
    `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed }
spec: { podSelector: { matchLabels: { app: server } }, ingress: [] }
`,
  )
  await live.until('the policy', async () => (await live.json<unknown[]>('policy')).length > 0)
  const file = live.path('drops.pcapng')
  const at = ['--at', 'drops,stage:IPV4_TO_ENDPOINT', '--protocol', 'icmp']
  const few = { waitSeconds: 1, isExact: true }
  await captured(['-w', file, ...at], () => ping(lab, client, server.address, few))
  const comments = (await tshark(file)).map((frame) => frame['frame.comment'] ?? '')
  t.equal(comments.length, 6)
  const fate = 'DROPPED 133 POLICY_DENIED \\(policy denied: no rule allows it\\)'
  t.match(comments[0], new RegExp(`^packet 1 at stage IPV4_TO_ENDPOINT, .*default/client.*${fate}`))
  t.match(comments[1], new RegExp(`^packet 1 at drop, .*${fate}.*ingress of default/server`))
  live.removeManifest('deny.yaml')
  await live.until('no policy', async () => {
    const { code } = await live.cli('trace', '--in', 'client', '--to', 'server:80')
    return code === 0
  })
})

t.test('metrics tell of stages, time, collections and rings of the worker', async (t) => {
  const pings = ['-f', '-q', '-c', '1500', server.address]
  await lab.exec(client, 'ping', pings)
  const value = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? 0)
  let text = ''
  await live.until('samples', async () => {
    text = (await live.cli('metrics')).stdout
    const isSampled = /stage_sampled_packets_total\{stage="IPV4_CT_EGRESS"\} [1-9]/.test(text)
    return isSampled && value(text, /worker_frames_total\{worker="0"\} (\S+)/) >= 3000
  })
  const spent = () => ({
    seconds: value(text, /stage_sampled_seconds_total\{stage="IPV4_CT_EGRESS"\} (\S+)/),
    packets: value(text, /stage_sampled_packets_total\{stage="IPV4_CT_EGRESS"\} (\S+)/),
  })
  let before = spent()
  let nanoseconds = (before.seconds / before.packets) * 1e9
  // Who loses its core within one of a dozen samples makes the mean: the best of some floods counts.
  for (let tries = 0; nanoseconds >= 100_000 && tries < 5; tries++) {
    await lab.exec(client, 'ping', pings)
    await live.until('more samples', async () => {
      text = (await live.cli('metrics')).stdout
      return spent().packets > before.packets + 5
    })
    const now = spent()
    const mean = (now.seconds - before.seconds) / (now.packets - before.packets)
    nanoseconds = Math.min(nanoseconds, mean * 1e9)
    before = now
  }
  t.ok(nanoseconds > 10 && nanoseconds < 100_000, `${nanoseconds} ns`)
  t.ok(value(text, /worker_time_seconds_total\{worker="0",state="busy"\} (\S+)/) > 0)
  t.ok(value(text, /worker_time_seconds_total\{worker="0",state="asleep"\} (\S+)/) > 0)
  t.ok(value(text, /worker_heap_used_bytes\{worker="0"\} (\S+)/) > 1e6)
  const ring =
    /port_ring_receive_frames\{device="[^"]*",endpoint="default\/server",kind="pod"\} (\S+)/
  t.ok(value(text, ring) >= 1000, 'frames on the fill ring')
  t.ok(value(text, /port_kicks_total\{device="[^"]*",endpoint="default\/server".*\} (\S+)/) > 0)
})

t.test('it ends by its count, by --stop, and when its reader is killed', async (t) => {
  const file = live.path('some.pcapng')
  const counted = live.spawnCli('capture', '-w', file, '--count', '4')
  await ready(counted)
  const pings = ping(lab, client, server.address, { count: 20 })
  t.equal((await counted.ended).code, 0)
  t.match(counted.output, /^4 frames/m)

  const stopped = live.spawnCli('capture', '-w', file)
  await ready(stopped)
  const second = await live.cli('capture', '-w', live.path('other.pcapng'))
  t.match(second, { code: 1, stderr: /a capture is on already/ })
  t.match(await live.cli('capture', '--stop'), { code: 0, stdout: 'ended\n' })
  t.equal((await stopped.ended).code, 0)
  t.match(await live.cli('capture', '--stop'), { code: 1, stderr: /no capture is on/ })

  const killed = live.spawnCli('capture', '-w', file)
  await ready(killed)
  process.kill(killed.pid ?? 0, 'SIGKILL')
  await over()
  const { sent, received } = await pings
  t.equal(received, sent, 'and the datapath lost nothing meanwhile')
})

t.test('it ends when the agent that reads it is killed; without one the files do', async (t) => {
  const orphan = live.spawnCli('capture', '-w', live.path('orphan.pcapng'))
  await ready(orphan)
  process.kill((await live.status()).agent.pid, 'SIGKILL')
  await orphan.ended
  await over()
  const file = live.path('alone.pcapng')
  const said = await captured(['-w', file, '--at', 'server:out'], () =>
    ping(lab, client, server.address),
  )
  t.match(said, /^\d+ frames/m)
  t.ok(framesOf(file).length >= 3)
  await live.start()
  const status = await run('curl', [
    '-s',
    '--unix-socket',
    live.path('state/api.sock'),
    'http://-/v1/capture',
  ])
  t.equal((JSON.parse(status.stdout) as CaptureStatus).isOn, false)
})

t.teardown(() => web.stop())
t.end()
