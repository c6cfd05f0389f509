/** The mirror of the kernel's tables when the kernel does not play along; all else is tried on a real one. */
import t from 'tap'
import type { NetlinkEnd } from '../../src/routing/netlink/kernel-queries.js'
import { buildMessage, messagesIn } from '../../src/routing/netlink/message.js'
import { MessageFlag, MessageType, RouteAttribute } from '../../src/routing/netlink/numbers.js'
import { RouteMirror } from '../../src/routing/route-mirror.js'
import { RoutingMaps } from '../../src/routing/routing-maps.js'

const MULTIPLE = 2

/** A kernel with one device, one rule, and the routes that it is given. */
class FakeKernel implements NetlinkEnd {
  readonly routes: number[] = []
  readonly asked: number[] = []
  interruptions = 0
  isRefusing = false
  isSilent = false
  readonly #answers: Uint8Array[] = []

  send(request: Uint8Array): void {
    for (const { type, sequence } of messagesIn(request)) {
      this.asked.push(type)
      if (this.isSilent) continue
      if (this.isRefusing) this.#answer(MessageType.ERROR, 0, sequence, new Uint8Array(20))
      else this.#dump(type, sequence)
    }
  }

  receive(): Uint8Array | null {
    return this.#answers.shift() ?? null
  }

  close(): void {
    this.#answers.length = 0
  }

  #dump(type: number, sequence: number): void {
    const isInterrupted = type === MessageType.GET_ROUTE && this.interruptions-- > 0
    const flags = MULTIPLE | (isInterrupted ? MessageFlag.DUMP_INTERRUPTED : 0)
    for (const [body, attributes] of this.#objects(type)) {
      // A stale answer to an earlier question comes first.
      this.#answer(type - 2, flags, sequence - 1, new Uint8Array(body.length))
      this.#answers.push(buildMessage(type - 2, flags, sequence, body, attributes))
    }
    this.#answer(MessageType.DONE, flags, sequence, new Uint8Array(4))
  }

  #answer(type: number, flags: number, sequence: number, body: Uint8Array): void {
    this.#answers.push(buildMessage(type, flags, sequence, body))
  }

  #objects(type: number): (readonly [Uint8Array, (readonly [number, Uint8Array])[]])[] {
    if (type === MessageType.GET_LINK) {
      const link = new Uint8Array(16)
      new DataView(link.buffer).setInt32(4, 3, true)
      link[8] = 1
      return [[link, [[3, new Uint8Array(Buffer.from('eth0\0'))]]]]
    }
    if (type === MessageType.GET_RULE) {
      return [[Uint8Array.of(2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0), []]]
    }
    if (type !== MessageType.GET_ROUTE) return []
    return this.routes.map((third) => {
      const route = Uint8Array.of(2, 24, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0)
      const destination = Uint8Array.of(10, 0, third, 0)
      const device = Uint8Array.of(3, 0, 0, 0)
      const { DESTINATION, OUT_DEVICE } = RouteAttribute
      return [
        route,
        [
          [DESTINATION, destination],
          [OUT_DEVICE, device],
        ],
      ] as const
    })
  }
}

function setUp() {
  const kernel = new FakeKernel()
  const maps = new RoutingMaps(
    (kind, spec) => kind.create(spec, new SharedArrayBuffer(kind.bytesFor(spec))),
    { routes: 64, neighbours: 64 },
  )
  const log: string[] = []
  const mirror = new RouteMirror({
    maps,
    uplinks: { refresh: () => false, ports: () => new Map([['eth0', 1]]) },
    news: { send: () => {}, receive: () => null, close: () => {} },
    queries: kernel,
    log: (line) => log.push(line),
  })
  return { kernel, maps, mirror, log }
}

t.test('a dump that was interrupted is made again', async (t) => {
  const { kernel, maps, mirror } = setUp()
  kernel.routes.push(1, 2, 3)
  kernel.interruptions = 2
  mirror.resynchronise()
  t.equal(maps.routes.size, 3)
  t.equal(kernel.asked.filter((type) => type === MessageType.GET_ROUTE).length, 3)
})

t.test('a table that never rests is taken as it is after some attempts', async (t) => {
  const { kernel, maps, mirror } = setUp()
  kernel.routes.push(1)
  kernel.interruptions = 1_000
  mirror.resynchronise()
  t.equal(maps.routes.size, 1)
})

for (const [name, failing] of [
  ['refuses', 'isRefusing'],
  ['is silent', 'isSilent'],
] as const) {
  t.test(`a kernel that ${name} leaves no routes, until it answers again`, async (t) => {
    const { kernel, maps, mirror, log } = setUp()
    kernel.routes.push(1, 2)
    mirror.resynchronise()
    t.equal(maps.routes.size, 2)
    kernel[failing] = true
    mirror.resynchronise()
    t.equal(maps.routes.size, 0, 'all packets go by the node’s stack')
    t.match(log, [/does not tell its tables/])
    kernel[failing] = false
    mirror.step(1)
    t.equal(maps.routes.size, 2)
  })
}

t.test('a mirror that is told not to trust itself asks anew', async (t) => {
  const { kernel, maps, mirror } = setUp()
  mirror.resynchronise()
  kernel.routes.push(1)
  mirror.step(1)
  t.equal(maps.routes.size, 0)
  mirror.distrust()
  mirror.step(2)
  t.equal(maps.routes.size, 1)
})
