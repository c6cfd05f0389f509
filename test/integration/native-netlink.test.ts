/**
 * The netlink socket of the add-on, and its single frames, against the kernel of a namespace of their
 * own.
 */
import './native-namespace.js'
import t from 'tap'
import { NetlinkSocket, sendFrame } from 'xdp-socket-napi'
import { run } from './native-namespace.js'

const RTNLGRP_LINK = 1
const RTM_NEWLINK = 16
const RTM_GETLINK = 18
const NLMSG_DONE = 3
const DUMP = 0x301

/** A request for all devices. */
function dumpRequest(): Uint8Array {
  const view = new DataView(new ArrayBuffer(32))
  view.setUint32(0, view.byteLength, true)
  view.setUint16(4, RTM_GETLINK, true)
  view.setUint16(6, DUMP, true)
  return new Uint8Array(view.buffer)
}

const typeOf = (datagram: Uint8Array) => Buffer.from(datagram).readUInt16LE(4)

function drain(socket: NetlinkSocket): number[] {
  const types: number[] = []
  for (let got = socket.receive(); got !== null; got = socket.receive()) types.push(typeOf(got))
  return types
}

t.test('a request is answered, and then there is nothing more', async (t) => {
  const socket = new NetlinkSocket()
  t.equal(socket.receive(), null)
  socket.send(dumpRequest())
  const types = drain(socket)
  t.equal(types[0], RTM_NEWLINK)
  t.equal(types.at(-1), NLMSG_DONE)
  socket.close()
})

t.test('the listener is called from the event loop when something changes', async (t) => {
  const socket = new NetlinkSocket({ groups: [RTNLGRP_LINK] })
  const heard = new Promise<number[]>((resolve) => {
    socket.onReadable(() => resolve(drain(socket)))
  })
  run('ip', 'link', 'set', 'rpx0', 'mtu', '1400')
  t.ok((await heard).every((type) => type === RTM_NEWLINK))
  const second = new Promise<void>((resolve) => {
    socket.onReadable(() => resolve())
  })
  run('ip', 'link', 'set', 'rpx0', 'mtu', '1500')
  await second
  socket.close()
})

t.test('lost messages are reported once, and the socket goes on', async (t) => {
  const socket = new NetlinkSocket({ groups: [RTNLGRP_LINK], receiveBufferBytes: 2048 })
  for (let mtu = 1400; mtu < 1416; mtu++) run('ip', 'link', 'set', 'rpx0', 'mtu', String(mtu))
  let lost = 0
  let got = 0
  for (let left = 100; left > 0; left--) {
    try {
      if (socket.receive() === null) break
      got++
    } catch (error) {
      lost++
      t.match(error, { code: 'EXDP_OVERRUN', syscall: 'recvmsg', errno: 105 })
    }
  }
  t.equal(lost, 1)
  t.ok(got > 0 && got < 16)
  run('ip', 'link', 'set', 'rpx0', 'mtu', '1500')
  t.not(drain(socket).length, 0)
  socket.close()
})

t.test('a closed socket says so, and what cannot be opened too', async (t) => {
  const socket = new NetlinkSocket()
  socket.close()
  socket.close()
  t.throws(() => socket.receive(), { code: 'EXDP_CLOSED' })
  t.throws(() => socket.send(dumpRequest()), { code: 'EXDP_CLOSED' })
  t.throws(() => socket.onReadable(() => {}), { code: 'EXDP_CLOSED' })
  t.throws(() => new NetlinkSocket({ groups: [0] }), { code: 'EXDP_ARGUMENT' })
  t.throws(() => new NetlinkSocket({ protocol: 31 }), { code: 'EXDP_UNSUPPORTED' })
})

t.test('a thread that ends while it listens takes its watch along', async (t) => {
  // In a process whose main thread has not loaded the add-on: it is unloaded with the thread.
  const threadSource = `
    const { workerData } = require('node:worker_threads')
    import(workerData).then(({ NetlinkSocket }) => {
      new NetlinkSocket({ groups: [1] }).onReadable(() => {})
      process.exit(7)
    })`
  const workerData = import.meta.resolve('xdp-socket-napi')
  const options = JSON.stringify({ eval: true, workerData })
  const source = `
    const { Worker } = require('node:worker_threads')
    const thread = new Worker(${JSON.stringify(threadSource)}, ${options})
    thread.once('exit', (code) => console.log(code))`
  t.equal(run(process.execPath, '-e', source).trim(), '7')
})

t.test('a frame is sent by a device, or the reason told', async (t) => {
  const statistics = (): number =>
    JSON.parse(run('ip', '-json', '-stats', 'link', 'show', 'rpx0'))[0].stats64.tx.packets
  const before = statistics()
  sendFrame('rpx0', new Uint8Array(60).fill(0xff))
  t.equal(statistics() - before, 1)
  t.throws(() => sendFrame('no-such', new Uint8Array(60)), { code: 'EXDP_NO_DEVICE' })
  t.throws(() => sendFrame('rpx0', new Uint8Array(4)), { code: 'EXDP_SYSTEM', syscall: 'sendto' })
})
