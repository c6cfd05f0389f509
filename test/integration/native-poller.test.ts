/**
 * The add-on on real AF_XDP sockets over a veth: the exchange, conservation of frames, teardown,
 * and what is refused.
 */
import './native-namespace.js'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import {
  BurstWord,
  SharedMemory,
  setDeviceOffload,
  Umem,
  XdpError,
  XdpProgram,
  XdpSocket,
} from 'xdp-socket-napi'
import { BURST, FRAME_BYTES, FRAMES, Lab } from './native-lab.js'
import { run } from './native-namespace.js'

const xdpOn = (device: string) => / xdp/.test(run('ip', '-d', 'link', 'show', device))

t.test(
  'frames cross between two devices of one UMEM in order, and every frame is accounted for',
  async (t) => {
    const lab = new Lab()
    t.equal(lab.sockets[0]?.mode, 'copy')
    t.match(lab.sockets[0]?.modeReason, /zero copy/, 'the reason for copy mode is told')
    t.equal(lab.programs[0]?.attachMode, 'native')
    const arrived: number[] = []
    let sent = 0
    for (let round = 0; round < 2000 && arrived.length < 5000; round++) {
      for (const [port, mark] of lab.take()) if (port === 1) arrived.push(mark)
      if (lab.total !== FRAMES) t.equal(lab.total, FRAMES, 'frames are conserved')
      while (sent < 5000 && lab.count < BURST) lab.append(0, sent++)
      if (lab.count === 0) lab.poller.wait(2)
    }
    t.same(
      arrived,
      Array.from({ length: 5000 }, (_, mark) => mark),
    )
    t.equal(lab.sockets[0]?.statistics().sentFrames, 5000)
    t.equal(lab.sockets[1]?.statistics().receivedFrames, 5000)
    t.equal(lab.sockets[1]?.statistics().receivedBytes, 5000 * FRAME_BYTES)
    t.same(lab.programs[1]?.counters(), [{ queue: 0, redirected: 5000, passed: 0, dropped: 0 }])
    lab.close()
    t.equal(lab.umem.buffer.byteLength, 0, 'a closed UMEM cannot be read')
  },
)

t.test('a burst is stamped with the monotonic clock', async (t) => {
  const lab = new Lab()
  const before = process.hrtime.bigint()
  lab.take()
  const seconds = BigInt(lab.words[BurstWord.NOW_SECONDS] as number)
  const stamp = seconds * 1_000_000_000n + BigInt(lab.words[BurstWord.NOW_NANOSECONDS] as number)
  t.ok(stamp >= before && stamp <= process.hrtime.bigint())
  lab.close()
})

t.test('a full transmit ring is a counted drop, and the frame is free again', async (t) => {
  const lab = new Lab({ txRingSize: 8 })
  for (let mark = 0; mark < 20; mark++) lab.append(0, mark)
  lab.take(1)
  t.equal(lab.words[BurstWord.DROPPED], 12)
  t.equal(lab.sockets[0]?.statistics().sendDropped, 12)
  t.equal(lab.total, FRAMES)
  lab.close()
})

t.test('a flood on one port leaves room for the other in each burst', async (t) => {
  const lab = new Lab({ fillTarget: 256 })
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < BURST - 2; i++) lab.append(0, i)
    if (round === 2) lab.append(1, 7)
    lab.poller.exchange(0)
  }
  run('sleep', '0.05')
  const ports = new Set(lab.take(8).map(([port]) => port))
  t.same([...ports].sort(), [0, 1])
  lab.close()
})

t.test('wait ends by time, by a frame, and by another thread', async (t) => {
  const lab = new Lab()
  lab.take()
  t.equal(lab.poller.wait(5), false)
  lab.append(0, 1)
  lab.poller.exchange(0)
  t.equal(lab.poller.wait(1000), true, 'a frame arrived')
  t.equal(lab.words[BurstWord.WOKEN], 0)
  lab.take()
  const source = `const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.module).then((m) => {
      parentPort.once('message', () => setTimeout(() => m.wakePoller(workerData.fd), 50))
      parentPort.postMessage('ready')
    })`
  const module = import.meta.resolve('xdp-socket-napi')
  const worker = new Worker(source, { eval: true, workerData: { module, fd: lab.poller.wakeFd } })
  await once(worker, 'message')
  const isWoken = () => lab.words[BurstWord.WOKEN] === 1
  // A frame of the kernel's own may come first; one that is in the burst ends a wait at once.
  const wait = (milliseconds: number) => {
    while (lab.count > 0) lab.take()
    return lab.poller.wait(milliseconds)
  }
  const before = performance.now()
  worker.postMessage('go')
  while (wait(5000) && !isWoken());
  t.ok(isWoken(), 'woken')
  const waited = performance.now() - before
  t.ok(waited > 1 && waited < 5000, `after ${waited} ms`)
  wait(0)
  t.notOk(isWoken(), 'once')
  await once(worker, 'exit')
  lab.close()
})

t.test('a socket can leave and come back while frames are in flight', async (t) => {
  const lab = new Lab()
  for (let mark = 0; mark < 50; mark++) lab.append(0, mark)
  lab.poller.exchange(4)
  const leaving = lab.sockets[1] as XdpSocket
  t.ok(lab.poller.removeSocket(leaving).framesReturned > 0)
  t.equal(lab.total, FRAMES)
  t.throws(() => leaving.statistics(), { code: 'EXDP_CLOSED' })
  const again = new XdpSocket({ umem: lab.umem, device: 'rpx1', queue: 0 })
  lab.poller.addSocket(again, 1)
  lab.programs[1]?.setSocket(0, again)
  for (let i = 0; i < 20; i++) lab.take()
  lab.append(0, 99)
  const marks: number[] = []
  for (let i = 0; i < 20; i++) for (const [, mark] of lab.take()) marks.push(mark)
  t.ok(marks.includes(99))
  t.equal(lab.total, FRAMES)
  lab.close()
})

t.test('several queues of a device are one port', async (t) => {
  const lab = new Lab()
  const second = new XdpSocket({ umem: lab.umem, device: 'rpx1', queue: 1 })
  lab.poller.addSocket(second, 1)
  lab.programs[1]?.setSocket(1, second)
  lab.append(1, 5)
  const seen: [number, number][] = []
  for (let i = 0; i < 20; i++) seen.push(...lab.take())
  t.same(seen, [[0, 5]])
  lab.close()
})

t.test('a frame sent twice, freed twice, or kept is found', async (t) => {
  const twice = new Lab()
  twice.append(0, 1)
  twice.append(0, 2)
  twice.column(0)[1] = twice.column(0)[0] as number
  t.throws(() => twice.poller.exchange(), { code: 'EXDP_FRAME', message: /sent or freed twice/ })
  t.throws(() => twice.poller.exchange(), { code: 'EXDP_FRAME' }, 'and the poller stays stopped')
  t.throws(() => twice.close(), { code: 'EXDP_FRAME' })

  const kept = new Lab()
  kept.umem.poolWords[0] = (kept.umem.poolWords[0] as number) - 1
  t.throws(() => kept.close(), {
    code: 'EXDP_FRAME',
    message: /1 of 1024 frames did not come back/,
  })
})

t.test('errors say what to do', async (t) => {
  const umem = new Umem({ frameCount: 64 })
  const open = (device: string, queue: number) => new XdpSocket({ umem, device, queue })
  t.throws(() => open('rpx9', 0), {
    code: 'EXDP_NO_DEVICE',
    device: 'rpx9',
    syscall: 'if_nametoindex',
  })
  t.throws(() => open('rpx0', 2), {
    code: 'EXDP_QUEUE',
    device: 'rpx0',
    queue: 2,
    message: /0 to 1/,
  })
  const socket = open('rpx0', 1)
  t.throws(() => open('rpx0', 1), { code: 'EXDP_BUSY', errno: 16, syscall: 'bind', queue: 1 })
  t.throws(() => umem.close(), { code: 'EXDP_CLOSED', message: /in use by 1/ })
  const program = XdpProgram.attach({ device: 'rpx0', mode: 'pod' })
  t.throws(() => XdpProgram.attach({ device: 'rpx0', mode: 'pod' }), {
    code: 'EXDP_ATTACHED',
    errno: 16,
  })
  t.throws(() => program.setSocket(0, socket), { code: 'EXDP_ARGUMENT', message: /only its own/ })
  t.throws(() => program.setSocket(64, null), { code: 'EXDP_ARGUMENT' })
  t.throws(() => program.addNatAddress(new Uint8Array(4)), { code: 'EXDP_ARGUMENT' })
  program.detach()
  t.throws(() => program.counters(), { code: 'EXDP_CLOSED' })
  socket.close()
  socket.close()
  umem.close()
  t.throws(() => new Umem({ frameCount: 1 << 20, strideBytes: 4096 }), {
    code: 'EXDP_ARGUMENT',
    message: /2 GiB/,
  })
  t.throws(() => new Umem({ frameCount: 16, strideBytes: 1024 }), { code: 'EXDP_ARGUMENT' })
  t.throws(() => setDeviceOffload('rpx9', 'txChecksum', false), { code: 'EXDP_NO_DEVICE' })
  const shorter = () => SharedMemory.open('/dev/null/none', 8)
  t.throws(shorter, { code: 'EXDP_SHARED_MEMORY', path: '/dev/null/none', syscall: 'open' })
  t.ok(new XdpError('EXDP_SYSTEM', 'x') instanceof Error)
})

t.test('the rights that are missing are named', async (t) => {
  const script = `import { Umem } from '${import.meta.resolve('xdp-socket-napi')}'
    try { new Umem({ frameCount: 16 }) } catch (error) { console.log(error.code, error.message) }`
  // Root without rights, and nobody else: the checkout may be one that only root can read.
  const rights = ['--bounding-set', '-all', '--inh-caps', '-all']
  const dropped = run('setpriv', ...rights, process.execPath, '--input-type=module', '-e', script)
  t.match(dropped, /EXDP_PERMISSION .*CAP_NET_RAW/)
})

t.test('a process killed with -9 leaves no program on the device', async (t) => {
  const script = `import { XdpProgram } from '${import.meta.resolve('xdp-socket-napi')}'
    XdpProgram.attach({ device: 'rpx0', mode: 'pod' })
    console.log('up')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  t.equal(xdpOn('rpx0'), true)
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.equal(xdpOn('rpx0'), false)
})

t.test('a device that is gone is told, and its frames come back', async (t) => {
  const link = ['link', 'add', 'rpy0', 'type', 'veth', 'peer', 'name', 'rpy1']
  run('ip', ...link)
  run('ip', 'link', 'set', 'rpy0', 'up')
  const lab = new Lab()
  const socket = new XdpSocket({ umem: lab.umem, device: 'rpy0', queue: 0 })
  lab.poller.addSocket(socket, 2)
  lab.append(2, 1)
  lab.take()
  run('ip', 'link', 'del', 'rpy0')
  for (let i = 0; i < 3; i++) {
    lab.poller.wait(1)
    lab.append(2, 2)
    lab.take()
  }
  t.equal(lab.words[BurstWord.SOCKETS_DOWN], 1)
  t.equal(socket.statistics().deviceGone, true)
  lab.poller.removeSocket(socket)
  t.equal(lab.total, FRAMES)
  lab.close()
})
