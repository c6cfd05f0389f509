/** Where packets leave the node, over routes and neighbours written by hand. */
import t from 'tap'
import { Fib, FibResult } from '../../src/routing/fib.js'
import { NOT_A_PORT, REQUEST_ROWS, Request, RouteKind } from '../../src/routing/route-layout.js'
import { type NextHop, RouteWriter, STACK_ROUTE } from '../../src/routing/route-writer.js'
import { RoutingMaps } from '../../src/routing/routing-maps.js'
import { parseIpv4, parseMac } from '../../src/wire/address.js'
import { seededPrng } from '../support/seed.js'

const UPLINK = 3
const OTHER_UPLINK = 4
const GATEWAY = parseIpv4('192.0.2.1')
const SOURCE = parseIpv4('192.0.2.10')
const WORLD = parseIpv4('203.0.113.9')
const GATEWAY_MAC = parseMac('02:aa:bb:cc:dd:ee')

const hop = (options: Partial<NextHop> = {}): NextHop => ({
  port: UPLINK,
  gateway: GATEWAY,
  source: SOURCE,
  mtuBytes: 1500,
  ...options,
})

function setUp() {
  const sizes = { routes: 64, neighbours: 64 }
  const maps = new RoutingMaps(
    (kind, spec) => kind.create(spec, new SharedArrayBuffer(kind.bytesFor(spec))),
    sizes,
  )
  const writer = new RouteWriter(maps)
  const route = (cidr: string, hops: readonly NextHop[], kind: RouteKind = RouteKind.FORWARD) => {
    const [address = '', bits] = cidr.split('/')
    writer.setRoute(parseIpv4(address), Number(bits), { kind, hops })
  }
  return { maps, writer, route, fib: new Fib(maps) }
}

t.test('a packet to a network behind a gateway takes the gateway’s MAC', async (t) => {
  const { fib, route, writer } = setUp()
  route('0.0.0.0/0', [hop({ mtuBytes: 1400 })])
  writer.setNeighbour(UPLINK, GATEWAY, GATEWAY_MAC)
  t.equal(fib.lookup(WORLD, 1), FibResult.FOUND)
  t.equal(fib.port, UPLINK)
  t.equal(fib.nextHop4, GATEWAY)
  t.equal(fib.sourceAddress4, SOURCE)
  t.equal(fib.mtuBytes, 1400)
  t.same({ high: fib.macHigh, low: fib.macLow }, GATEWAY_MAC)
})

t.test('without a gateway the next hop is the destination', async (t) => {
  const { fib, route, writer } = setUp()
  route('203.0.113.0/24', [hop({ gateway: 0 })])
  writer.setNeighbour(UPLINK, WORLD, GATEWAY_MAC)
  t.equal(fib.lookup(WORLD, 1), FibResult.FOUND)
  t.equal(fib.nextHop4, WORLD)
})

t.test('the longest prefix decides, and deleting it leaves the shorter one', async (t) => {
  const { fib, route, writer } = setUp()
  route('0.0.0.0/0', [hop()])
  route('203.0.113.0/24', [hop({ port: OTHER_UPLINK })])
  fib.lookup(WORLD, 1)
  t.equal(fib.port, OTHER_UPLINK)
  t.ok(writer.deleteRoute(parseIpv4('203.0.113.0'), 24))
  fib.lookup(WORLD, 1)
  t.equal(fib.port, UPLINK)
  t.notOk(writer.deleteRoute(parseIpv4('203.0.113.0'), 24))
})

t.test('no route, a route of the stack, a foreign device, a group: not ours', async (t) => {
  const { fib, route, writer } = setUp()
  t.equal(fib.lookup(WORLD, 1), FibResult.NOT_OURS)
  route('0.0.0.0/0', [hop()])
  route('203.0.113.0/24', [hop({ port: NOT_A_PORT })])
  t.ok(writer.setRoute(SOURCE, 32, STACK_ROUTE))
  for (const to of [WORLD, SOURCE, parseIpv4('224.0.0.5'), parseIpv4('255.255.255.255')]) {
    t.equal(fib.lookup(to, 1), FibResult.NOT_OURS)
    t.equal(fib.port, NOT_A_PORT)
  }
})

t.test('a refused destination is unreachable', async (t) => {
  const { fib, route } = setUp()
  route('0.0.0.0/0', [hop()])
  route('203.0.113.0/24', [], RouteKind.UNREACHABLE)
  t.equal(fib.lookup(WORLD, 1), FibResult.UNREACHABLE)
})

t.test('an unknown neighbour is asked for, once', async (t) => {
  const { fib, maps, route } = setUp()
  route('0.0.0.0/0', [hop()])
  t.equal(fib.lookup(WORLD, 1), FibResult.NO_NEIGHBOUR)
  t.equal(fib.nextHop4, GATEWAY)
  t.equal(fib.lookup(WORLD, 1), FibResult.NO_NEIGHBOUR)
  const words = maps.requests.words
  t.equal(words[maps.requests.valueStart(REQUEST_ROWS)], 1)
  const rows = Array.from({ length: REQUEST_ROWS }, (_, i) => maps.requests.valueStart(i))
  const asked = rows.filter((row) => words[row + Request.PORT] === UPLINK + 1)
  t.equal(asked.length, 1)
  t.equal(words[(asked[0] ?? 0) + Request.NEXT_HOP], GATEWAY)
})

t.test('a neighbour belongs to one port', async (t) => {
  const { fib, route, writer } = setUp()
  route('0.0.0.0/0', [hop()])
  writer.setNeighbour(OTHER_UPLINK, GATEWAY, GATEWAY_MAC)
  t.equal(fib.lookup(WORLD, 1), FibResult.NO_NEIGHBOUR)
})

t.test('flows spread over next hops by weight, and each keeps its way', async (t) => {
  const prng = seededPrng(t)
  const { fib, route } = setUp()
  route('0.0.0.0/0', [hop({ weight: 3 }), hop({ port: OTHER_UPLINK }), hop({ port: 5, weight: 4 })])
  const counts = new Map<number, number>()
  for (let flow = 0; flow < 8000; flow++) {
    const hash = prng.nextInt32()
    fib.lookup(WORLD, hash)
    const { port } = fib
    counts.set(port, (counts.get(port) ?? 0) + 1)
    fib.lookup(WORLD, hash)
    if (fib.port !== port) t.fail('a flow changed its way')
  }
  for (const [port, expected] of [
    [UPLINK, 3000],
    [OTHER_UPLINK, 1000],
    [5, 4000],
  ] as const) {
    const count = counts.get(port) ?? 0
    t.ok(Math.abs(count - expected) < 250, `port ${port} got ${count} of 8000`)
  }
})
