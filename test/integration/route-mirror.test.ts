/** The mirror of routes and neighbours against the tables of a real kernel. */
import './native-namespace.js'
import { spawn } from 'node:child_process'
import { readlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseIpv4 } from '../../src/wire/address.js'
import { kernelAnswer, RouteLab } from '../support/route-lab.js'
import { seededPrng } from '../support/seed.js'
import { run } from './native-namespace.js'

const MTUS = new Map([
  ['rpx0', 1500],
  ['rpx2', 1400],
])
const WORLD = '203.0.113.9'

const ip = (line: string) => run('ip', ...line.split(' '))

ip('link add rpx2 type veth peer name rpx3')
for (const device of ['rpx2', 'rpx3']) ip(`link set ${device} up`)
ip('link set rpx2 mtu 1400')
ip('link set lo up')
ip('addr add 192.0.2.10/24 dev rpx0')
ip('addr add 192.0.2.11/24 dev rpx0')
ip('addr add 198.51.100.10/24 dev rpx2')
ip('addr add 10.77.0.1/16 dev rpx3')
// The other end of the first uplink lives with a neighbour of its own.
const neighbour = spawn('unshare', ['--net', 'sleep', '1000'], { stdio: 'ignore' })
neighbour.unref()
process.once('exit', () => neighbour.kill())
const elsewhere = (line: string) =>
  run('nsenter', '--net', '--target', String(neighbour.pid), 'ip', ...line.split(' '))
const namespaceOf = (pid: number | string): string => readlinkSync(`/proc/${pid}/ns/net`)
for (let tries = 0; namespaceOf(neighbour.pid ?? 0) === namespaceOf('self'); tries++) {
  if (tries === 1000) throw new Error('unshare stays in our namespace')
  await new Promise((resolve) => setTimeout(resolve, 10))
}
ip(`link set rpx1 netns ${neighbour.pid}`)
elsewhere('link set rpx1 up')
elsewhere('addr add 192.0.2.1/24 dev rpx1')
elsewhere('addr add 192.0.2.2/24 dev rpx1')

const lab = new RouteLab()

/** Changes the kernel's tables and lets the mirror hear of it. */
function change(...lines: readonly string[]): void {
  for (const line of lines) ip(line)
  lab.mirror.receive()
}

t.test('networks of the uplinks’ own addresses are there from the start', async (t) => {
  t.equal(lab.answer('192.0.2.77'), 'dev rpx0 src 192.0.2.10 mtu 1500')
  t.equal(lab.answer('198.51.100.77'), 'dev rpx2 src 198.51.100.10 mtu 1400')
  t.equal(lab.answer('192.0.2.10'), 'stack', 'an own address')
  t.equal(lab.answer('192.0.2.255'), 'stack', 'a broadcast address')
  t.equal(lab.answer('10.77.0.2'), 'stack', 'a device that is no port')
  t.equal(lab.answer(WORLD), 'stack', 'no route')
})

t.test('a default route comes, changes its gateway, and goes', async (t) => {
  change('route add default via 192.0.2.1')
  t.equal(lab.answer(WORLD), 'dev rpx0 via 192.0.2.1 src 192.0.2.10 mtu 1500')
  change('route replace default via 192.0.2.2 mtu 1300 src 192.0.2.11')
  t.equal(lab.answer(WORLD), 'dev rpx0 via 192.0.2.2 src 192.0.2.11 mtu 1300')
  change('route change default via 198.51.100.1')
  t.equal(lab.answer(WORLD), 'dev rpx2 via 198.51.100.1 src 198.51.100.10 mtu 1400')
  change('route del default')
  t.equal(lab.answer(WORLD), 'stack')
})

t.test('of two routes to one prefix the lower metric counts', async (t) => {
  change('route add default via 192.0.2.1 metric 200')
  change('route add default via 198.51.100.1 metric 100')
  t.match(lab.answer(WORLD), /^dev rpx2/)
  change('route del default metric 100')
  t.match(lab.answer(WORLD), /^dev rpx0/)
  change('route del default metric 200')
})

t.test('refused destinations', async (t) => {
  for (const kind of ['blackhole', 'unreachable', 'prohibit']) {
    change(`route add ${kind} 203.0.113.0/24`)
    t.equal(lab.answer(WORLD), 'unreachable', kind)
    change(`route del ${kind} 203.0.113.0/24`)
  }
  change('route add throw 203.0.113.0/24', 'route add default via 192.0.2.1')
  t.equal(lab.answer(WORLD), 'stack', 'throw asks the next table')
  change('route del throw 203.0.113.0/24', 'route del default')
})

t.test('flows spread over several next hops', async (t) => {
  change(
    'route add 203.0.113.0/24 nexthop via 192.0.2.1 weight 3 nexthop via 198.51.100.1 weight 1',
  )
  const first = Array.from({ length: 64 }, (_, i) => lab.answer(WORLD, i << 26))
  t.equal(first.filter((answer) => answer.startsWith('dev rpx0 via 192.0.2.1 ')).length, 48)
  t.equal(first.filter((answer) => answer.startsWith('dev rpx2 via 198.51.100.1 ')).length, 16)
  change('link set rpx2 down')
  t.match(lab.answer(WORLD, -1), /^dev rpx0/, 'those of a device that is down are left out')
  change('link set rpx2 up', 'route flush 203.0.113.0/24')
  t.equal(lab.answer(WORLD), 'stack')
})

t.test('routes go with their device, and the kernel’s own come back with it', async (t) => {
  change('route add default via 198.51.100.1')
  change('link set rpx2 down')
  t.equal(lab.answer(WORLD), 'stack')
  t.equal(lab.answer('198.51.100.77'), 'stack')
  change('link set rpx2 up')
  t.equal(lab.answer('198.51.100.77'), 'dev rpx2 src 198.51.100.10 mtu 1400')
  t.equal(lab.answer(WORLD), 'stack', 'the default route does not')
  change('route add default via 198.51.100.1 src 198.51.100.10')
  change('addr del 198.51.100.10/24 dev rpx2')
  t.equal(lab.answer(WORLD), 'stack', 'routes go with their source address')
  change('addr add 198.51.100.10/24 dev rpx2')
})

t.test('the MTU of a device and its name count at once', async (t) => {
  change('link set rpx0 mtu 1280')
  t.equal(lab.answer('192.0.2.77'), 'dev rpx0 src 192.0.2.10 mtu 1280')
  change('link set rpx0 mtu 1500')
  lab.setUplinks(new Map([['rpx2', 4]]))
  lab.step()
  t.equal(lab.answer('192.0.2.77'), 'stack', 'a device that is no port any more')
  lab.setUplinks(new Map([...MTUS.keys()].map((device, i) => [device, 3 + i])))
  lab.step()
  t.equal(lab.answer('192.0.2.77'), 'dev rpx0 src 192.0.2.10 mtu 1500')
})

t.test('tables are asked in the order of the rules', async (t) => {
  change('route add 203.0.113.0/24 via 192.0.2.1 table 1000')
  t.equal(lab.answer(WORLD), 'stack')
  change('rule add lookup 1000 pref 500')
  t.match(lab.answer(WORLD), /via 192.0.2.1/)
  change('route add 203.0.113.0/28 via 198.51.100.1')
  t.match(lab.answer(WORLD), /via 192.0.2.1/, 'an earlier table wins over a longer prefix')
  change('rule add fwmark 9 lookup 99 pref 400', 'rule add iif lo lookup 99 pref 401')
  t.match(lab.answer(WORLD), /via 192.0.2.1/, 'rules that cannot concern us are passed over')
  change('rule add from 10.0.0.0/8 lookup 99 pref 450')
  t.equal(lab.answer(WORLD), 'stack', 'what a rule by source decides is the kernel’s')
  t.match(lab.log.at(-1), /rule 450/)
  t.equal(lab.answer('192.0.2.77'), 'stack')
  for (const pref of [400, 401, 450]) change(`rule del pref ${pref}`)
  t.match(lab.answer(WORLD), /via 192.0.2.1/)
  change('rule del pref 500', 'route del 203.0.113.0/28')
  t.equal(lab.answer(WORLD), 'stack')
})

t.test('a random table answers as the kernel does, through a hundred changes', async (t) => {
  const prng = seededPrng(t)
  const prefix = () => {
    const length = [0, 4, 8, 12, 14, 15, 16, 20][prng.below(8)] ?? 0
    const address = length === 0 ? 0 : (0x14 << 24) | (prng.below(16) << 12)
    const bits = length === 0 ? 0 : address & (-1 << (32 - length))
    return `${(bits >>> 24) & 255}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.0/${length}`
  }
  const ways = [
    'via 192.0.2.1',
    'via 192.0.2.2 mtu 1300',
    'via 198.51.100.1',
    'dev rpx3',
    'dev rpx2',
  ]
  const attempt = (line: string) => {
    try {
      ip(line)
    } catch {
      // There already, or not there.
    }
  }
  for (let round = 0; round < 100; round++) {
    const verb = ['add', 'add', 'replace', 'append', 'prepend', 'del'][prng.below(6)] ?? 'add'
    const metric = `metric ${1 + prng.below(3)}`
    const table = ['', ' table 253', ' table 1000'][prng.below(3)]
    const isRefused = prng.below(6) === 0 && verb !== 'append'
    const to = prefix()
    if (isRefused) attempt(`route ${verb} unreachable ${to} ${metric}${table}`)
    else attempt(`route ${verb} ${to} ${ways[prng.below(ways.length)]} ${metric}${table}`)
    if (prng.below(10) === 0) attempt('rule add lookup 1000 pref 500')
    if (prng.below(10) === 0) attempt('rule del pref 500')
    if (prng.below(12) === 0) for (const to of ['down', 'up']) attempt(`link set rpx2 ${to}`)
    lab.mirror.receive()
    for (let count = 0; count < 3; count++) {
      const address = `20.${prng.below(2)}.${prng.below(256)}.${1 + prng.below(254)}`
      const expected = kernelAnswer(address, MTUS)
      const answer = lab.answer(address)
      if (answer !== expected) t.equal(answer, expected, `${address} in round ${round}`)
    }
  }
  t.equal(lab.mirror.dumps, 1, 'without a dump of everything')
  for (const table of ['main', '253', '1000']) attempt(`route flush table ${table} root 20.0.0.0/8`)
  for (const table of ['main', '253', '1000']) attempt(`route flush table ${table} exact default`)
  for (const table of ['main', '253', '1000']) attempt(`route flush table ${table} root 16.0.0.0/4`)
  attempt('rule del pref 500')
  lab.mirror.receive()
})

/** Applies many lines by one `ip`. */
function batch(lines: readonly string[]): void {
  const file = join(tmpdir(), `rp-routes-${process.pid}`)
  writeFileSync(file, `${lines.join('\n')}\n`)
  run('ip', '-batch', file)
}

const many = (verb: string, count: number, way = '') =>
  Array.from({ length: count }, (_, i) => `route ${verb} 20.${i >> 8}.${i & 255}.0/24${way}`)

t.test('a thousand routes come and go', async (t) => {
  const before = lab.maps.routes.size
  batch(many('add', 1000, ' via 192.0.2.1'))
  lab.mirror.receive()
  t.equal(lab.maps.routes.size, before + 1000)
  t.match(lab.answer('20.3.231.9'), /via 192.0.2.1/)
  batch(many('del', 1000))
  lab.mirror.receive()
  t.equal(lab.maps.routes.size, before)
})

t.test('when news are lost, everything is asked for anew', async (t) => {
  const deaf = new RouteLab({ newsBufferBytes: 4096 })
  batch(many('add', 500, ' via 192.0.2.1'))
  deaf.mirror.receive()
  t.equal(deaf.mirror.dumps, 2)
  t.match(deaf.log, [/news of the kernel were lost/])
  t.match(deaf.answer('20.1.243.9'), /via 192.0.2.1/)
  batch(many('del', 500))
  deaf.mirror.receive()
  t.equal(deaf.answer('20.1.243.9'), 'stack')
  deaf.close()
  lab.mirror.receive()
})

t.test('routes that do not fit the map are all left to the kernel', async (t) => {
  const small = new RouteLab({ routes: 64 })
  batch(many('add', 100, ' via 192.0.2.1'))
  small.mirror.receive()
  t.equal(small.maps.routes.size, 0)
  t.equal(small.answer('192.0.2.77'), 'stack')
  t.match(small.log, [/more than the map holds/])
  batch(many('del', 100))
  small.mirror.receive()
  small.step()
  t.equal(small.answer('192.0.2.77'), 'dev rpx0 src 192.0.2.10 mtu 1500')
  small.close()
  lab.mirror.receive()
})

t.test('a mirror that starts over old maps takes out what is not so any more', async (t) => {
  change(
    'route add default via 192.0.2.1',
    'neigh replace 192.0.2.50 lladdr 02:00:00:00:00:50 dev rpx0',
  )
  const key = Int32Array.of(parseIpv4('192.0.2.50'), 3)
  t.ok(lab.maps.neighbours.lookup(key) >= 0)
  lab.mirror.close()
  ip('route del default')
  ip('neigh del 192.0.2.50 dev rpx0')
  t.match(lab.answer(WORLD), /via 192.0.2.1/)
  const next = lab.startMirror()
  t.equal(lab.answer(WORLD), 'stack')
  t.ok(lab.maps.neighbours.lookup(key) < 0)
  next.close()
})

t.test('neighbours', async (t) => {
  const live = new RouteLab()
  t.after(() => live.close())
  ip('neigh flush dev rpx0')
  ip('route replace default via 192.0.2.1')
  live.mirror.receive()
  const macOf = (name: string) => /link\/ether (\S+)/.exec(elsewhere(`link show ${name}`))?.[1]
  const known = (address: string) => {
    live.mirror.receive()
    live.fib.lookup(parseIpv4(address), 0)
    const hex = (live.fib.macHigh >>> 0).toString(16).padStart(8, '0')
    const digits = hex + live.fib.macLow.toString(16).padStart(4, '0')
    return digits.replace(/..(?=.)/g, '$&:')
  }
  const until = async (holds: () => boolean) => {
    for (let tries = 0; tries < 200 && !holds(); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    return holds()
  }
  const state = (address: string) => / (\S+)\s*$/.exec(ip(`neigh show ${address} dev rpx0`))?.[1]
  const isFound = (address: string) => {
    live.mirror.receive()
    return live.fib.lookup(parseIpv4(address), 0) === 0
  }

  await t.test('the gateway of a route is found without traffic', async (t) => {
    live.step()
    t.ok(await until(() => isFound(WORLD)))
    t.equal(known(WORLD), macOf('rpx1'))
  })
  await t.test('a neighbour that the datapath asks for is found', async (t) => {
    t.notOk(isFound('192.0.2.2'))
    live.step()
    t.ok(await until(() => isFound('192.0.2.2')))
    t.equal(known('192.0.2.2'), macOf('rpx1'))
  })
  await t.test('a new MAC counts at once', async (t) => {
    ip('neigh replace 192.0.2.2 lladdr 02:00:00:00:00:99 dev rpx0')
    t.equal(known('192.0.2.2'), '02:00:00:00:00:99')
  })
  await t.test('one that does not answer is taken out', async (t) => {
    ip('neigh replace 192.0.2.60 lladdr 02:00:00:00:00:60 dev rpx0')
    t.ok(isFound('192.0.2.60'))
    ip('neigh change 192.0.2.60 nud failed dev rpx0')
    t.notOk(isFound('192.0.2.60'))
  })
  await t.test('a stale one is confirmed while it is used, and only then', async (t) => {
    ip('neigh replace 192.0.2.2 lladdr 02:00:00:00:00:99 nud stale dev rpx0')
    live.mirror.receive()
    t.ok(isFound('192.0.2.2'))
    live.step()
    t.ok(await until(() => ['DELAY', 'PROBE', 'REACHABLE'].includes(state('192.0.2.2') ?? '')))
    ip('neigh replace 192.0.2.61 lladdr 02:00:00:00:00:61 nud stale dev rpx0')
    live.mirror.receive()
    live.step()
    t.equal(state('192.0.2.61'), 'STALE')
  })
})
