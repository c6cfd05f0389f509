/**
 * The traffic programs tell the truth: tried over a plain kernel link, without any engine. Needs
 * root.
 */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Lab } from '../../src/lab/lab.js'
import * as traffic from '../support/traffic.js'

const lab = await Lab.create({ name: 'traffic' })
t.teardown(() => lab.close())
const left = await lab.namespace('left')
const right = await lab.namespace('right')
await lab.link({
  a: { ns: left, device: 'up0', address: '192.0.2.1/24' },
  b: { ns: right, device: 'up0', address: '192.0.2.2/24' },
})
const at = (port: number) => ({ ns: right, address: '192.0.2.2', port })

t.test('ping counts answers, and their absence', async (t) => {
  t.match(await traffic.ping(lab, left, '192.0.2.2', { sizeBytes: 1472 }), {
    sent: 3,
    received: 3,
    averageMs: Number,
  })
  const silent = await traffic.ping(lab, left, '192.0.2.9', { count: 1, waitSeconds: 1 })
  t.match(silent, { sent: 1, received: 0, averageMs: undefined })
})

t.test('an answer that takes its time is none that was lost', async (t) => {
  const slow = (rate: string) => `up0 root tbf rate ${rate} burst 2000 limit 1mb`
  const tc = (words: string) => lab.exec(right, 'tc', ['qdisc', ...words.split(' ')])
  const pings = traffic.ping(lab, left, '192.0.2.2', { count: 20, sizeBytes: 1400 })
  await new Promise((resolve) => setTimeout(resolve, 500))
  await tc(`add dev ${slow('1kbit')}`)
  // The last of them was sent half a second ago.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  await tc(`change dev ${slow('1gbit')}`)
  const { sent, received } = await pings
  await tc('del dev up0 root')
  t.same({ sent, received }, { sent: 20, received: 20 })
})

t.test('a file is fetched over HTTP; no server gives status 0', async (t) => {
  const directory = fs.mkdtempSync(join(tmpdir(), 'ringpath-http-'))
  t.teardown(() => fs.rmSync(directory, { recursive: true }))
  fs.writeFileSync(join(directory, 'hello'), 'hello\n')
  const server = await traffic.httpServer(lab, at(8080), directory)
  const answer = await traffic.httpGet(lab, left, 'http://192.0.2.2:8080/hello')
  t.same(answer, { status: 200, body: 'hello\n', error: '' })
  await server.stop()
  const refused = await traffic.httpGet(lab, left, 'http://192.0.2.2:8080/hello')
  t.match(refused, { status: 0, error: /curl: \(7\)/ })
})

t.test('a TCP probe tells open, refused and silent apart', async (t) => {
  const server = await traffic.echoServer(lab, at(7001))
  t.equal(await traffic.tcpProbe(lab, left, '192.0.2.2', 7001), 'open')
  await server.stop()
  t.equal(await traffic.tcpProbe(lab, left, '192.0.2.2', 7001), 'refused')
  await lab.ip(right, ['link set up0 down'])
  t.equal(await traffic.tcpProbe(lab, left, '192.0.2.2', 7001), 'silent')
  await lab.ip(right, ['link set up0 up'])
})

t.test('a transfer arrives with the hash it was sent with', async (t) => {
  const report = await traffic.transferWithHash(lab, left, at(7002), 5)
  t.equal(report.receivedHash, report.sentHash)
  t.match(report.sentHash, /^[0-9a-f]{64}$/)
  t.equal(report.bytes, 5_000_000)
})

t.test('many connections at once all get their bytes back', async (t) => {
  await traffic.echoServer(lab, at(7003))
  const load = { connections: 200, bytesEach: 10_000 }
  t.same(await traffic.tcpEcho(lab, left, at(7003), load), { opened: 200, intact: 200 })
  t.same(await traffic.tcpEcho(lab, left, at(7999), load), { opened: 0, intact: 0 })
})

t.test('a datagram comes back, or nothing does', async (t) => {
  await traffic.udpEchoServer(lab, at(7004))
  t.equal(await traffic.udpEcho(lab, left, at(7004), 'one datagram'), 'one datagram')
  t.equal(await traffic.udpEcho(lab, left, at(7999), 'one datagram', 1), '')
})

t.test('iperf3 reports TCP and UDP', async (t) => {
  const tcp = await traffic.iperf(lab, left, at(5201), { seconds: 1, parallel: 2, reverse: true })
  t.ok(tcp.bitsPerSecond > 1e6, `${tcp.bitsPerSecond} bits per second`)
  const udp = await traffic.iperf(lab, left, at(5202), { seconds: 1, udpBitsPerSecond: 10e6 })
  t.ok(udp.datagrams > 100, `${udp.datagrams} datagrams`)
  t.ok(udp.lost < udp.datagrams)
})
