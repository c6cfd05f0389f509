/** Source NAT without packets: one to one at all times, fair to the whole range, and honest when full. */
import t from 'tap'
import { Prng } from '../../src/base/prng.js'
import { readDestinations } from '../../src/nat/destination-use.js'
import { NatRow } from '../../src/nat/nat-protocol.js'
import { PORT_TRIES_MAX, PortProbe } from '../../src/nat/port-probe.js'
import { SnatDirection, SnatFlag } from '../../src/nat/snat-entry.js'
import { parseIpv4 } from '../../src/wire/address.js'
import { Protocol } from '../../src/wire/protocols.js'
import { type Flow, flow, NatUnderTest, replyTo, requestOf } from '../support/nat-model.js'
import { seededPrng } from '../support/seed.js'

const { UDP, TCP, ICMPV4 } = Protocol
const POD = '10.0.1.1'
const OTHER_POD = '10.0.1.2'
const SEEDS = 30

const nameOf = (f: Flow): string => Object.values(f).join(',')
const endOf = (f: Flow): string => `${f.source}:${f.sourcePort}`

/** One of a few hundred flows, close enough to each other to collide. */
function randomFlow(prng: Prng): Flow {
  const protocol = [TCP, UDP, ICMPV4, Protocol.SCTP][prng.below(4)] ?? UDP
  const isIcmp = protocol === ICMPV4
  return {
    protocol,
    source: (parseIpv4('10.0.1.0') + prng.below(6)) | 0,
    sourcePort: isIcmp ? prng.below(8) : 40_000 + prng.below(24),
    destination: (parseIpv4('198.51.100.0') + prng.below(2)) | 0,
    port: isIcmp ? 0 : 53,
  }
}

t.test(
  'no two flows share address, port, destination and protocol, and each gets its own back',
  async (t) => {
    const prng = seededPrng(t)
    const problems: string[] = []
    for (let round = 0; round < SEEDS; round++) {
      const under = new NatUnderTest(prng.nextInt32())
      under.range(40_000, 40_063)
      const flows = new Map<string, Flow>()
      const ports = new Map<string, number>()
      const owners = new Map<string, string>()
      const ownerKey = (f: Flow, port: number) => `${f.protocol},${f.destination},${f.port},${port}`
      for (let step = 0; step < 400; step++) {
        const f = randomFlow(prng)
        const name = nameOf(f)
        flows.set(name, f)
        const port = under.forward(f)
        const known = ports.get(name)
        if (port < 0) {
          if (known !== undefined) problems.push(`${name} lost its port`)
          continue
        }
        if (known !== undefined && known !== port) problems.push(`${name}: ${known} became ${port}`)
        const owner = owners.get(ownerKey(f, port))
        if (owner !== undefined && owner !== name) problems.push(`${name} has the port of ${owner}`)
        ports.set(name, port)
        owners.set(ownerKey(f, port), name)
        const back = under.reverse(f, port)
        if (back !== endOf(f)) problems.push(`${name} came back as ${back}`)
      }
      for (const [name, port] of ports) {
        const f = flows.get(name) as Flow
        if (under.reverse(f, port) !== endOf(f)) problems.push(`${name} was forgotten`)
      }
      problems.push(...under.problems())
    }
    t.same(problems, [])
  },
)

t.test(
  'in a table that evicts all the time each packet still comes back to its sender',
  async (t) => {
    const prng = seededPrng(t)
    const problems: string[] = []
    for (let round = 0; round < SEEDS; round++) {
      const under = new NatUnderTest(prng.nextInt32(), 16 + prng.below(64))
      under.range(40_000, 40_000 + prng.below(200))
      for (let step = 0; step < 300; step++) {
        const f = randomFlow(prng)
        under.now += prng.below(30)
        const port = under.forward(f, under.address4, prng.chance(0.1) ? SnatFlag.NEEDS_CT : 0)
        if (port >= 0 && under.reverse(f, port) !== endOf(f)) problems.push(nameOf(f))
        if (prng.chance(0.2)) {
          const direction = prng.chance(0.5) ? SnatDirection.IN : SnatDirection.OUT
          under.drop(direction, () => prng.chance(0.1))
        }
      }
      problems.push(...under.problems())
    }
    t.same(problems, [])
  },
)

t.test(
  'the sender’s port is kept where it can be, for any protocol and toward any destination',
  async (t) => {
    const under = new NatUnderTest(1)
    t.equal(under.forward(flow(UDP, POD, 40_000)), 40_000)
    t.equal(under.forward(flow(TCP, OTHER_POD, 40_000)), 40_000)
    t.equal(under.forward(flow(UDP, OTHER_POD, 40_000, '198.51.100.2')), 40_000)
    t.equal(under.forward(flow(UDP, OTHER_POD, 40_000, '198.51.100.1', 54)), 40_000)
    t.not(under.forward(flow(UDP, OTHER_POD, 40_000)), 40_000)
    t.equal(under.nat.portUse.count(NatRow.UDP, 40_000), 3)
    t.equal(under.marks[65_536 + 40_000], 1)
  },
)

t.test('a half that was evicted is made again from the other', async (t) => {
  const under = new NatUnderTest(1)
  under.forward(flow(UDP, OTHER_POD, 40_000))
  const f = flow(UDP, POD, 40_000)
  const port = under.forward(f)
  const isOurs = (key: Int32Array) => key[0] === f.source
  t.ok(under.drop(SnatDirection.OUT, isOurs))
  t.equal(under.reverse(f, port), endOf(f), 'the reply restores the forward half')
  t.equal(under.maps.snat.size, 4)
  t.equal(under.forward(f), port, 'with the same port')
  t.ok(under.drop(SnatDirection.IN, (key) => ((key[2] as number) & 0xffff) === port))
  t.equal(under.marks[65_536 + port], 0)
  t.equal(under.forward(f), port, 'the packet restores the reverse half')
  t.equal(under.marks[65_536 + port], 1)
  t.equal(under.reverse(f, port), endOf(f))
  t.same(under.problems(), [])
})

t.test('a flow whose kept port survived only in the reverse half takes it up again', async (t) => {
  const under = new NatUnderTest(1)
  const f = flow(UDP, POD, 40_000)
  under.forward(f)
  under.drop(SnatDirection.OUT, () => true)
  t.equal(under.forward(f), 40_000)
  t.equal(under.maps.snat.size, 2)
  t.same(under.problems(), [])
})

t.test(
  'a flow whose port went to another one gets a new one, and its old reverse half is void',
  async (t) => {
    const under = new NatUnderTest(1)
    const f = flow(UDP, POD, 40_000)
    const g = flow(UDP, OTHER_POD, 40_000)
    under.forward(f)
    under.drop(SnatDirection.IN, () => true)
    t.equal(under.forward(g), 40_000, 'nobody seems to have it')
    const port = under.forward(f)
    t.not(port, 40_000)
    t.equal(under.reverse(f, 40_000), endOf(g))
    t.equal(under.reverse(f, port), endOf(f))
    t.same(under.problems(), [])
  },
)

t.test('a mapping to an address that is no longer current is made anew', async (t) => {
  const under = new NatUnderTest(1)
  const f = flow(TCP, POD, 40_000)
  under.forward(f)
  const address4 = parseIpv4('192.0.2.3')
  t.equal(under.forward(f, address4), 40_000)
  t.equal(under.nat.address4, address4)
  t.equal(under.maps.snat.size, 2, 'nothing is left of the old one')
  t.equal(under.reverse(f, 40_000, address4), endOf(f))
  t.equal(under.reverse(f, 40_000), '')
  t.same(under.problems(), [])
})

t.test('a small range is used to its last port; then the numbers tell', async (t) => {
  for (const count of [1, 2, 3, 7, 16, 31, 32]) {
    const under = new NatUnderTest(count)
    under.range(40_000, 40_000 + count - 1)
    const ports = new Set<number>()
    for (let i = 0; i < count; i++) ports.add(under.forward(flow(UDP, POD, 1000 + i)))
    t.equal(ports.size, count, `${count} flows, ${count} ports`)
    t.equal(ports.has(-1), false)
    t.equal(under.forward(flow(UDP, POD, 999)), -1)
    t.equal(under.nat.exhaustedTries, count)
    t.equal(under.nat.exhaustedRange, count)
    t.equal(under.nat.exhaustedInUse, count)
    t.ok(under.nat.isFillingUp)
    t.equal(under.maps.tries.sum(32), 1)
    const [line] = readDestinations(under.maps.destinations)
    t.same(line, {
      natAddress: '192.0.2.2',
      address: '198.51.100.1',
      port: 53,
      protocol: UDP,
      ports: count,
    })
    t.not(under.forward(flow(UDP, POD, 999, '198.51.100.2')), -1, 'elsewhere there is room')
    const isHere = (key: Int32Array) => key[0] === parseIpv4('198.51.100.1')
    t.ok(under.drop(SnatDirection.IN, isHere))
    t.not(under.forward(flow(UDP, POD, 999)), -1, 'and here again when one is gone')
    t.same(under.problems(), [])
  }
})

t.test(
  'ports of the node’s sockets are left alone, but for the sockets’ own packets',
  async (t) => {
    const under = new NatUnderTest(1)
    under.range(40_000, 40_003)
    for (const port of [40_000, 40_001, 40_003]) under.useByHost(NatRow.UDP, port)
    t.equal(under.forward(flow(UDP, POD, 40_000)), 40_002)
    t.equal(under.forward(flow(UDP, OTHER_POD, 40_000)), -1)
    t.equal(under.forward(flow(TCP, POD, 40_000)), 40_000, 'TCP has ports of its own')
    const own = flow(UDP, '192.0.2.2', 40_001)
    t.equal(under.forward(own, under.address4, SnatFlag.NEEDS_CT), 40_001)
    t.ok(under.nat.needsCt)
    t.equal(under.reverse(own, 40_001), endOf(own))
  },
)

t.test('identifiers of pings are of 0 to 65535, whatever the port range', async (t) => {
  const under = new NatUnderTest(1)
  under.range(40_000, 40_000)
  const ids = [0, 1, 255, 39_999, 65_535]
  for (const id of ids) t.equal(under.forward(flow(ICMPV4, POD, id)), id)
  const others = ids.map((id) => under.forward(flow(ICMPV4, OTHER_POD, id)))
  t.equal(new Set([...ids, ...others]).size, 10)
})

t.test('an ICMP error finds the mapping of the flow that it quotes, from both sides', async (t) => {
  const under = new NatUnderTest(1)
  for (const protocol of [UDP, TCP, ICMPV4]) {
    under.forward(flow(protocol, OTHER_POD, 40_000))
    const f = flow(protocol, POD, 40_000)
    const port = under.forward(f)
    const translated = { ...f, source: under.address4, sourcePort: port }
    t.ok(under.nat.findQuotedRequest(requestOf(translated)))
    t.same([under.nat.address4, under.nat.port], [f.source, 40_000])
    t.ok(under.nat.findQuotedReply(replyTo(f, f.source, 40_000)))
    t.same([under.nat.address4, under.nat.port], [under.address4, port])
    t.notOk(under.nat.findQuotedRequest(requestOf({ ...translated, sourcePort: 1 })))
  }
})

t.test('a worker that starts again knows which ports are in use', async (t) => {
  const under = new NatUnderTest(1)
  for (let i = 0; i < 50; i++) under.forward(flow(UDP, POD, 40_000 + i))
  under.maps.portUse.words.fill(7, 64)
  under.nat = under.maps.sourceNat(0, new Prng(2))
  under.nat.portUse.attach(under.marks)
  t.same(under.problems(), [])
  under.nat.portUse.detach(under.marks)
  under.nat.portUse.take(NatRow.UDP, 50_000)
  t.equal(under.marks[65_536 + 50_000], 0, 'a program that is gone is not written to')
})

t.test('the walk tries no port twice, and all of a small range', async (t) => {
  const prng = seededPrng(t)
  const probe = new PortProbe(prng)
  const problems: string[] = []
  for (const count of [1, 2, 3, 5, 16, 31, 32, 33, 34, 100, 28_232, 32_768, 65_536]) {
    const low = count === 65_536 ? 0 : 32_768
    const high = low + count - 1
    for (let i = 0; i < 50; i++) {
      const wanted = prng.below(65_536)
      probe.begin(wanted, low, high)
      const tried: number[] = []
      for (let port = probe.next(); port >= 0; port = probe.next()) tried.push(port)
      const isInside = tried.every((port) => port >= low && port <= high)
      const whole = Math.min(count, PORT_TRIES_MAX)
      if (!isInside || new Set(tried).size !== tried.length || tried.length !== whole) {
        problems.push(`${count} ports, wanted ${wanted}: ${tried.join(' ')}`)
      }
      if (wanted >= low && wanted <= high && tried[0] !== wanted)
        problems.push(`${wanted} not kept`)
      const evenly = tried.slice(0, Math.min(15, count >> 1))
      if (evenly.some((port) => ((port ^ wanted) & 1) === 1)) problems.push(`parity of ${wanted}`)
    }
  }
  t.same(problems, [])
})

t.test('the walk is fair to the whole range', async (t) => {
  const probe = new PortProbe(seededPrng(t))
  const cells = new Int32Array(64)
  const rounds = 6400
  for (let i = 0; i < rounds; i++) {
    probe.begin(1000 + (i & 1), 32_768, 65_535)
    for (let port = probe.next(); port >= 0; port = probe.next()) {
      const cell = (port - 32_768) >>> 9
      cells[cell] = (cells[cell] ?? 0) + 1
    }
  }
  const mean = (rounds * PORT_TRIES_MAX) / cells.length
  // The walk spreads evenly within a round, too: far below ten standard deviations of chance.
  t.ok(
    cells.every((n) => Math.abs(n - mean) < 10 * Math.sqrt(mean)),
    cells.join(' '),
  )
})

t.test('a port is found though a sixth of the range is taken, side by side', async (t) => {
  const probe = new PortProbe(new Prng(1))
  const [low, high, taken] = [16_384, 65_535, 8192]
  let failed = 0
  for (let i = 0; i < 300_000; i++) {
    probe.begin(1024 + (i % taken), low, high)
    let port = probe.next()
    while (port >= 0 && port < low + taken) port = probe.next()
    if (port < 0) failed++
  }
  // With one walk of 32 steps 210 of them: those that began there with short steps.
  t.equal(failed, 0)
})

t.test('a port is found where nine of ten are taken', async (t) => {
  const under = new NatUnderTest(seededPrng(t).nextInt32(), 131_072)
  under.range(32_768, 42_767)
  let failed = 0
  for (let i = 0; i < 9000; i++) {
    if (under.forward(flow(UDP, POD, 1 + i)) < 0) failed++
  }
  // With n of 10,000 ports in use the chance of 32 tries in vain is (n / 10,000)^32: 9 in all.
  t.ok(failed < 40, `${failed} of 9000 found none`)
})

t.end()
