/** Workers of one datapath without devices: frames handed to one another, and ports that all have to join. */
import t from 'tap'
import { PortFollower } from '../../src/engine/port-follower.js'
import { type DevicePorts, PortManager } from '../../src/engine/port-manager.js'
import { ArrayMap } from '../../src/maps/array-map.js'
import { Burst, NO_PORT } from '../../src/packet/burst.js'
import { FramePool } from '../../src/packet/frame-pool.js'
import { PORTS_SPEC, PortMode, PortStatus, PortTable } from '../../src/port/port-table.js'
import { teamMemory, WorkerTeam } from '../../src/port/worker-team.js'
import { seededPrng } from '../support/seed.js'

const STRIDE = 2112
const FRAMES = 256
const PORTS = 8
const RING = 64

const prng = seededPrng(t)

/** One worker's packet memory and burst; it has queues of the ports of `own`. */
class Member {
  readonly memory = new Uint8Array(STRIDE * FRAMES)
  readonly pool = FramePool.filled(FRAMES, STRIDE)
  readonly burst = new Burst(128)
  readonly queueCounts = new Int32Array(PORTS)
  readonly team: WorkerTeam

  constructor(memory: ReturnType<typeof teamMemory>, index: number, of: number) {
    this.team = new WorkerTeam(memory, { index, of })
    this.team.useMemory(this.memory.buffer, STRIDE)
  }

  /** A frame of the pool in the burst, for the port; its bytes tell what it is. */
  send(port: number, text: Uint8Array, offset: number): void {
    const start = this.pool.take() + offset
    this.memory.set(text, start)
    const { burst } = this
    burst.starts[burst.count] = start
    burst.lengths[burst.count] = text.length
    burst.ports[burst.count] = port
    burst.count++
  }

  pass(): void {
    this.team.pass(this.burst, this.queueCounts, this.pool)
  }

  /** What would be sent now, by port; all frames go back to the pool. */
  flush(): [number, string][] {
    const { burst, pool, memory } = this
    const sent: [number, string][] = []
    for (let i = 0; i < burst.count; i++) {
      const start = burst.starts[i] as number
      const port = burst.ports[i] as number
      const bytes = memory.subarray(start, start + (burst.lengths[i] as number))
      if (port !== NO_PORT) sent.push([port, Buffer.from(bytes).toString('hex')])
      pool.give(start - (start % STRIDE))
    }
    burst.count = 0
    return sent
  }
}

const randomBytes = (length: number): Uint8Array =>
  Uint8Array.from({ length }, () => prng.below(256))

t.test('a frame for a port of another worker arrives there whole, in order', async (t) => {
  const memory = teamMemory(2)
  const [first, second] = [new Member(memory, 0, 2), new Member(memory, 1, 2)]
  // Port 1 is the second worker's.
  first.team.ports.offer(1, Int32Array.of(3))
  second.queueCounts[1] = 1
  const wanted: string[] = []
  const arrived: string[] = []
  for (let round = 0; round < 200; round++) {
    for (let i = prng.below(20); i > 0; i--) {
      const bytes = randomBytes(14 + prng.below(1800))
      first.send(1, bytes, 200 + prng.below(56))
      wanted.push(Buffer.from(bytes).toString('hex'))
    }
    first.pass()
    t.same(first.flush(), [], 'nothing is left to be sent here')
    second.pass()
    for (const [port, text] of second.flush()) {
      if (port === 1) arrived.push(text)
    }
  }
  t.equal(arrived.length, wanted.length)
  t.ok(arrived.every((text, i) => text === wanted[i]))
  t.equal(first.pool.freeCount + second.pool.freeCount, 2 * FRAMES)
})

t.test('a full ring leaves the frame to its giver, who counts it', async (t) => {
  const memory = teamMemory(2)
  const first = new Member(memory, 0, 2)
  first.team.ports.offer(1, Int32Array.of(3))
  for (let i = 0; i < RING + 1; i++) first.send(1, randomBytes(60), 256)
  first.pass()
  t.equal(first.team.given, RING)
  t.equal(first.flush().length, 1)
})

t.test('a port that nobody has attached is nobody’s', async (t) => {
  const memory = teamMemory(2)
  const first = new Member(memory, 0, 2)
  first.send(1, randomBytes(60), 256)
  first.pass()
  t.equal(first.team.given, 0)
})

t.test('each queue is one worker’s, and each worker has one of as many', async (t) => {
  for (const workers of [2, 3, 5]) {
    const memory = teamMemory(workers)
    for (let port = 0; port < PORTS; port++) {
      const shares = Array.from({ length: workers }, (_, index) =>
        new WorkerTeam(memory, { index, of: workers }).share(null).queuesOf(port, workers),
      )
      t.same(
        shares.map((queues) => queues.length),
        shares.map(() => 1),
      )
      t.equal(new Set(shares.flat()).size, workers)
    }
  }
})

/** Devices of a worker that say which ports it has, and refuse on demand. */
class Devices implements DevicePorts {
  readonly has = new Set<number>()
  readonly modes: string[] = []
  refuses = false

  attach(port: number) {
    this.has.add(port)
    return { isNative: true, isZeroCopy: false }
  }

  join(port: number, _device: string, mode: string): void {
    if (this.refuses) throw Object.assign(new Error('busy'), { errno: 16 })
    this.modes.push(mode)
    this.has.add(port)
  }

  detach(port: number): void {
    this.has.delete(port)
  }

  lostPorts(): readonly number[] {
    return []
  }
}

function twoWorkers() {
  const memory = teamMemory(2)
  const table = new PortTable(
    ArrayMap.create(PORTS_SPEC, new SharedArrayBuffer(ArrayMap.bytesFor(PORTS_SPEC))),
  )
  const teams = [0, 1].map((index) => new WorkerTeam(memory, { index, of: 2 }))
  const [first, second] = teams as [WorkerTeam, WorkerTeam]
  const [own, other] = [new Devices(), new Devices()]
  // As XskExchange offers what it attaches, and withdraws what it detaches.
  const offering: DevicePorts = {
    attach: (port) => {
      const made = own.attach(port)
      first.ports.offer(port, Int32Array.of(7))
      return made
    },
    detach: (port) => {
      first.ports.withdraw(port)
      own.detach(port)
    },
    lostPorts: () => [],
  }
  const nobody = { attached: () => {}, detaching: () => {} }
  const manager = new PortManager(table, offering, () => {}, nobody, first.ports)
  const follower = new PortFollower(table, other, second.ports, () => {}, nobody)
  const status = (port: number): number => table.report(port, process.pid).status
  /** Asked for, and both have it. */
  const share = (port: number, device: string): void => {
    table.request(port, device, PortMode.POD)
    manager.step(1)
    follower.step()
    manager.step(1)
  }
  return { table, manager, follower, own, other, status, share }
}

t.test('a port counts as attached once every worker has joined', async (t) => {
  const it = twoWorkers()
  it.table.request(3, 'lxc-a', PortMode.POD)
  it.manager.step(1)
  t.equal(it.status(3), PortStatus.DETACHED)
  t.ok(it.manager.isPending)
  it.follower.step()
  it.manager.step(1)
  t.equal(it.status(3), PortStatus.ATTACHED)
  t.same([...it.other.has], [3])
  t.notOk(it.manager.isPending)
})

t.test('a worker that cannot join makes the port fail, and it is tried again', async (t) => {
  const it = twoWorkers()
  it.other.refuses = true
  it.share(3, 'lxc-a')
  t.equal(it.status(3), PortStatus.FAILED)
  t.equal(it.table.report(3, process.pid).errno, 16)
  t.same([...it.own.has], [], 'nobody keeps half of it')
  it.other.refuses = false
  it.follower.step()
  it.manager.step(3)
  it.follower.step()
  it.manager.step(3)
  t.equal(it.status(3), PortStatus.ATTACHED)
})

t.test('a port is attached anew only when every worker has left what was there', async (t) => {
  const it = twoWorkers()
  it.share(3, 'lxc-a')
  it.table.request(3, 'lxc-b', PortMode.POD)
  it.manager.step(1)
  t.same([...it.own.has], [], 'it waits')
  t.same([...it.other.has], [3])
  it.follower.step()
  t.same([...it.other.has], [])
  it.manager.step(1)
  it.follower.step()
  it.manager.step(1)
  t.equal(it.status(3), PortStatus.ATTACHED)
  t.same([...it.other.has], [3])
  it.table.release(3)
  it.manager.step(1)
  it.follower.step()
  t.same([...it.other.has, ...it.own.has], [])
})

t.test('asked for anew while workers join, a port is told as attached when all have', async (t) => {
  const it = twoWorkers()
  it.table.request(3, 'lxc-a', PortMode.POD)
  it.manager.step(1)
  it.table.release(3)
  it.table.request(3, 'lxc-a', PortMode.POD)
  it.manager.step(1)
  t.equal(it.status(3), PortStatus.DETACHED, 'the other one has not joined')
  it.follower.step()
  it.manager.step(1)
  t.equal(it.status(3), PortStatus.ATTACHED)
  it.table.release(3)
  it.table.request(3, 'lxc-a', PortMode.POD)
  it.manager.step(1)
  t.equal(it.status(3), PortStatus.ATTACHED, 'and again, now that all have joined')
})

t.test('every worker joins anew a port that is asked for in the other mode', async (t) => {
  const it = twoWorkers()
  it.share(3, 'eth0')
  it.table.release(3)
  it.table.request(3, 'eth0', PortMode.UPLINK)
  it.manager.step(1)
  t.equal(it.status(3), PortStatus.DETACHED)
  it.follower.step()
  t.same([...it.other.has], [], 'it has left')
  it.manager.step(1)
  it.follower.step()
  it.manager.step(1)
  t.equal(it.status(3), PortStatus.ATTACHED)
  t.same(it.other.modes, ['pod', 'uplink'])
})

t.test('a device moves to another port when every worker has left the one it had', async (t) => {
  const it = twoWorkers()
  it.share(4, 'lxc-a')
  it.table.release(4)
  it.table.request(3, 'lxc-a', PortMode.POD)
  it.manager.step(1)
  t.same([...it.own.has], [], 'it waits: queues of the device are the other one’s yet')
  it.follower.step()
  it.manager.step(1)
  it.follower.step()
  it.manager.step(1)
  t.equal(it.status(3), PortStatus.ATTACHED)
  t.same([...it.own.has, ...it.other.has], [3, 3])
})

t.end()
