/**
 * `ringpath pktgen` over real devices: every way to send and to count, frames compared with what
 * tcpdump captured, a real TCP server, and the command's manners.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { PLAN_BYTES } from '../../src/pktgen/plan-bytes.js'
import { builtProgram } from '../../src/pktgen/process-sender.js'
import { readAll } from '../support/capture-files.js'
import { parseFrame } from '../support/packet-parser.js'
import { PktgenLab, RECEIVER, SENDER } from '../support/pktgen-lab.js'

const lab = await PktgenLab.direct()
t.teardown(() => lab.close())
const folder = mkdtempSync(join(tmpdir(), 'rp-pktgen-'))
t.teardown(() => rmSync(folder, { recursive: true }))

const CLEAN = { lost: 0, duplicates: 0, reordered: 0 }

t.test('the program in the kernel and its loader agree on the plan', async (t) => {
  try {
    execFileSync(builtProgram('generate'), ['lo'], { input: 'no plan\n', stdio: 'pipe' })
    t.fail('it took no plan for one')
  } catch (error) {
    t.match(String((error as Error).message), `version 2 and ${PLAN_BYTES} bytes`)
  }
})

for (const engine of ['xdp', 'af-xdp']) {
  for (const hook of ['xdp', 'tc', 'af-xdp']) {
    t.test(`what ${engine} sends, ${hook} counts: all of it, once, in order`, async (t) => {
      if (hook === 'tc') await lab.receiveByStack()
      const words = `--engine ${engine} --to ${RECEIVER} SINK --sink-hook ${hook} --flows 7`
      const result = await lab.result(`${words} --size imix --count 2000 --rate 4000`)
      t.match(result, { sent: 2000, received: 2000, ...CLEAN })
      t.equal(result.receivedBytes, result.sentBytes)
      t.ok((result.latency?.count ?? 0) === 2000 && (result.latency?.p50 ?? 0) > 0)
    })
  }
}

for (const mode of ['udp', 'syn', 'connection']) {
  t.test(`${mode} with VLAN tags and many flows is counted, too`, async (t) => {
    const words = `--mode ${mode} --vlan 7 --flows 500 --to ${RECEIVER}-10.9.0.9:80-89 SINK`
    const result = await lab.result(`${words} --count 3000 --rate 10000`)
    t.match(result, { sent: 3000, received: 3000, ...CLEAN })
  })
}

/** Captures at the receiver while the command runs, without a sink. */
async function captured(name: string, words: string, count: number) {
  const path = join(folder, name)
  await lab.receiveByStack()
  const from = ['not', 'arp', 'and', 'ether', 'src', lab.link.a.mac]
  const args = ['-i', 'in0', '-w', path, '-U', '-c', `${count}`, '-s', '0', ...from]
  const tcpdump = lab.lab.spawn(lab.receiver, 'tcpdump', args)
  await tcpdump.waitForOutput(/listening on/)
  const output = await lab.pktgen(words)
  if (output.code !== 0) throw new Error(output.stderr)
  await tcpdump.waitForOutput(/packets captured/)
  return path
}

for (const words of [
  '--size imix --flows 7',
  '--size 60,1514 --flows 3 --vlan 5 --size 100',
  '--no-udp-checksum --to 10.9.0.2-10.9.0.4:9-12 --flows 200',
  '--mode syn --flows 5',
  '--mode connection --flows 3 --connection-frames 5 --size 200',
]) {
  t.test(`in the kernel and in TypeScript the frames are the same: ${words}`, async (t) => {
    const all = `--to ${RECEIVER}:9 ${words} --no-timestamps --count 60`
    const sent = await captured('sent.pcap', all, 60)
    const planned = join(folder, 'planned.pcap')
    t.equal((await lab.pktgen(`${all} -w ${planned}`)).code, 0)
    const bytesOf = (path: string) =>
      readAll(readFileSync(path)).map(({ bytes }) => Buffer.from(bytes).toString('hex'))
    const [inKernel, inTypeScript] = [bytesOf(sent), bytesOf(planned)]
    t.equal(inKernel.length, 60)
    t.same(
      inKernel.findIndex((bytes, index) => bytes !== inTypeScript[index]),
      -1,
    )
    for (const { bytes } of readAll(readFileSync(sent))) t.same(parseFrame(bytes).problems, [])
  })
}

t.test('what a plain sink does not look at is not told as nothing', async (t) => {
  const words = `--to ${RECEIVER} SINK --sink-plain --count 100`
  const result = await lab.result(words)
  t.match(result, { sent: 100, received: 100, lost: 0 })
  for (const field of ['duplicates', 'reordered', 'reorderExtent', 'latency']) {
    t.notOk(field in result, field)
  }
  const { stdout } = await lab.pktgen(words)
  t.match(stdout, /^order +not measured$/m)
  t.notMatch(stdout, /out of order/)
})

t.test('tcpdump finds the checksums right, and what --print said', async (t) => {
  const words = `--to ${RECEIVER}:9 --size 60,300 --flows 2`
  const path = await captured('sums.pcap', `${words} --count 8`, 8)
  const text = execFileSync('tcpdump', ['-nnvv', '-r', path], { encoding: 'utf8', stdio: 'pipe' })
  t.equal(text.match(/\[udp sum ok\]/g)?.length, 8)
  const printed = await lab.pktgen(`${words} --print 2`)
  t.match(printed.stdout, /300 bytes .* 10\.9\.0\.1:1025 > 10\.9\.0\.2:9 UDP 258 bytes of data #1/)
  t.match(text, /10\.9\.0\.1\.1025 > 10\.9\.0\.2\.9: .*length 258/)
})

t.test('a real server answers every SYN with the number it must', async (t) => {
  await lab.receiveByStack()
  const listen = 'require("net").createServer().listen(80, () => console.log("listening"))'
  const server = lab.lab.spawn(lab.receiver, process.execPath, ['-e', listen])
  await server.waitForOutput(/listening/)
  const path = join(folder, 'answers.pcap')
  const count = 100
  const args = ['-i', 'out0', '-w', path, '-U', '-c', `${count}`, 'src', RECEIVER, 'and', 'tcp']
  const tcpdump = lab.lab.spawn(lab.sender, 'tcpdump', args)
  await tcpdump.waitForOutput(/listening on/)
  const words = `--mode syn --to ${RECEIVER}:80 --from ${SENDER} --flows ${count} --count ${count}`
  t.match(await lab.result(`${words} --rate 2000`), { sent: count })
  await tcpdump.waitForOutput(/packets captured/)
  const answers = readAll(readFileSync(path)).map(({ bytes }) => parseFrame(bytes).tcp)
  t.ok(answers.every((answer) => answer?.flags === 'SYN ACK'))
  const numbers = answers.map((answer) => answer?.ack ?? 0).sort((a, b) => a - b)
  t.same(
    numbers,
    Array.from({ length: count }, (_, sequence) => sequence + 1),
  )
  await server.stop()
})

t.test('Ctrl-C ends a run, which tells what it has done', async (t) => {
  const child = lab.start(`--to ${RECEIVER} --rate 2000 --seconds 60 -o json`)
  await child.waitForOutput(/"interval"/)
  const { code } = await child.stop('SIGINT')
  t.equal(code, 0)
  t.match(child.output, /"type":"result","sent":\d{3,}/)
})

t.test('when the command is killed, so is what it has started', async (t) => {
  const words = `--to ${RECEIVER} --rate 2000 --seconds 600 --sink out0 -o json`
  const child = lab.start(words)
  await child.waitForOutput(/"interval"/)
  const running = async () => {
    const { stdout } = await lab.lab.exec(lab.sender, 'ip', ['netns', 'pids', lab.sender.netns])
    return stdout.split('\n').filter(Boolean)
  }
  const before = await running()
  process.kill(child.pid ?? 0, 'SIGKILL')
  await child.ended
  const others = before.filter((pid) => pid !== `${child.pid}`)
  let left = others
  for (let turn = 0; turn < 50 && left.length > 0; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    const now = await running()
    left = others.filter((pid) => now.includes(pid))
  }
  t.ok(others.length >= 2, 'a sender and a sink')
  t.same(left, [])
})

t.test('mistakes are told before anything is sent', async (t) => {
  const refuses = async (words: string, message: RegExp, expected = 2) => {
    const { code, stdout, stderr } = await lab.pktgen(words)
    t.equal(code, expected, words)
    t.match(stderr, message)
    t.equal(stdout, '')
  }
  await refuses(`--to ${RECEIVER} --size 2000`, /--size: "2000", expected a size from 60 to 1522/)
  await refuses(`--to ${RECEIVER} --size 1522`, /size: 1522, expected at most 1514, by the device/)
  await refuses(`--to ${RECEIVER} --search`, /--search: needs --sink/)
  await refuses(`--to ${RECEIVER} --engine best`, /Allowed choices are xdp, af-xdp, pktgen/)
  await refuses(`--to ${RECEIVER} --engine pktgen`, /pktgen/, 1)
  await refuses(
    `--to ${RECEIVER} --sink nowhere`,
    /--sink: "nowhere", expected a device of this .*: .*out0/,
  )
  const inReceiver = `--sink-namespace ${lab.receiver.netns}`
  await refuses(`--to ${RECEIVER} --sink no1 ${inReceiver}`, /--sink: "no1", expected .*: .*in0/)
  await refuses(`--to ${RECEIVER} --core 999`, /--core: 999, expected a core that this machine/)
  const range = '--search-from 10k --search-to 1k'
  await refuses(`--to ${RECEIVER} SINK --search ${range}`, /--search-from: "10k".*--search-to.* 1k/)
  await refuses(`--to ${RECEIVER} --rate abc`, /--rate: "abc", expected "max", frames/)
  await refuses('--rate 1k', /--to: "", expected where to send/)
  await refuses(`--to ${RECEIVER} --to-mac zz`, /--to-mac: "zz", expected a MAC address/)
  await refuses(`--to ${RECEIVER}:0`, /--to: "0", expected ports from 1 to 65535/)
  await refuses(`--to ${RECEIVER} --sink in0 --sink-namespace no-such`, /no-such/)
  await lab.lab.ip(lab.sender, ['route add default via 10.9.0.254 dev out0'])
  await refuses(`--to ${RECEIVER}`, /a device without the default route, or --allow-default-route/)
  const allowed = `--to ${RECEIVER} --allow-default-route --count 10 SINK`
  t.match(await lab.result(allowed), { sent: 10, received: 10 })
  await lab.lab.ip(lab.sender, ['route del default'])
})
