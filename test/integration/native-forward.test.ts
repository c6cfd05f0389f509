/**
 * Real programs of two network namespaces talk through a forwarder of a few lines; also memory
 * between processes.
 */
import './native-namespace.js'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  BURST_HEADER_WORDS,
  Poller,
  SharedMemory,
  setDeviceOffload,
  Umem,
  XdpProgram,
  XdpSocket,
} from 'xdp-socket-napi'
import { run } from './native-namespace.js'

const BURST = 64
const FRAMES = 2048

/** A namespace that lives as long as a sleeping process, with one end of a veth as eth0. */
function pod(index: number): ChildProcess {
  const holder = spawn('unshare', ['--net', 'sleep', '60'], { stdio: 'ignore' })
  const inside = (...command: string[]) =>
    execFileSync('nsenter', ['-t', String(holder.pid), '-n', ...command])
  // unshare needs a moment before it is in its own namespace.
  const own = () =>
    run('readlink', `/proc/${holder.pid}/ns/net`) !== run('readlink', '/proc/self/ns/net')
  while (!own()) run('sleep', '0.01')
  run(
    'ip',
    'link',
    'add',
    `rpp${index}`,
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    String(holder.pid),
  )
  run('ip', 'link', 'set', `rpp${index}`, 'up')
  inside('ip', 'addr', 'add', `10.99.0.${index}/24`, 'dev', 'eth0')
  inside('ip', 'link', 'set', 'eth0', 'up')
  return holder
}

t.test('ping crosses two pods through one exchange, and no frame is lost', async (t) => {
  const pods = [pod(1), pod(2)]
  const umem = new Umem({ frameCount: FRAMES })
  const words = new Int32Array(BURST_HEADER_WORDS + 3 * BURST)
  const ports = words.subarray(BURST_HEADER_WORDS + 2 * BURST)
  const poller = new Poller({ umem, burstWords: words })
  const programs = [1, 2].map((index, port) => {
    const device = `rpp${index}`
    const socket = new XdpSocket({ umem, device, queue: 0 })
    const program = XdpProgram.attach({ device, mode: 'pod' })
    poller.addSocket(socket, port)
    program.setSocket(0, socket)
    return program
  })
  const command = [
    '-t',
    String(pods[0]?.pid),
    '-n',
    'ping',
    '-w',
    '20',
    '-c',
    '200',
    '-i',
    '0.005',
    '-s',
    '1400',
    '10.99.0.2',
  ]
  const ping = spawn('nsenter', command, { stdio: ['ignore', 'pipe', 'inherit'] })
  let summary = ''
  ping.stdout.on('data', (text) => {
    summary += text
  })
  const ended = once(ping, 'close')
  while (ping.exitCode === null) {
    for (let i = 0; i < 64; i++) {
      const count = poller.exchange(BURST)
      for (let frame = 0; frame < count; frame++) ports[frame] = 1 - (ports[frame] as number)
      if (count === 0 && !poller.wait(1)) break
    }
    await new Promise(setImmediate)
  }
  await ended
  // It waits for the last answer no longer than twice the slowest one took, and then sends one more.
  const answers = [...summary.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, number]) => Number(number))
  const answered = new Set(answers.filter((number) => number <= 200))
  t.equal(answered.size, 200, summary.slice(-300))
  for (const program of programs) program.detach()
  poller.close()
  t.equal(umem.poolWords[0], FRAMES)
  umem.close()
  for (const holder of pods) holder.kill()
})

t.test('an offload can be set and is refused for a device that is not there', async (t) => {
  setDeviceOffload('rpx0', 'txChecksum', false)
  t.match(run('ethtool', '-k', 'rpx0'), /tx-checksumming: off/)
  setDeviceOffload('rpx0', 'txChecksum', true)
  t.match(run('ethtool', '-k', 'rpx0'), /tx-checksumming: on/)
  t.throws(() => setDeviceOffload('rpx9', 'gro', true), { code: 'EXDP_NO_DEVICE', device: 'rpx9' })
})

t.test('shared memory is seen by another process, and is its owner’s alone', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'rp-nat-'))
  const path = join(folder, 'map')
  const memory = SharedMemory.open(path, 8192, { create: true })
  t.equal(statSync(path).mode & 0o777, 0o600)
  const words = new Int32Array(memory.buffer)
  t.equal(words.length, 2048)
  t.equal(words[2047], 0)
  words[0] = 42
  const script = `import { SharedMemory } from '${import.meta.resolve('xdp-socket-napi')}'
    const memory = SharedMemory.open('${path}', 0)
    const words = new Int32Array(memory.buffer)
    words[1] = words[0] + 1
    console.log(memory.bytes)`
  t.equal(run(process.execPath, '--input-type=module', '-e', script), '8192\n')
  t.equal(words[1], 43)
  t.throws(() => SharedMemory.open(path, 16384), { code: 'EXDP_SHARED_MEMORY', path })
  t.throws(() => SharedMemory.open(join(folder, 'none'), 8), {
    code: 'EXDP_SHARED_MEMORY',
    errno: 2,
  })
  memory.close()
  memory.close()
  t.equal(memory.buffer.byteLength, 0)
  rmSync(folder, { recursive: true })
})
