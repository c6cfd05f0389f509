/** Services in the maps: the writer against a plain model, refusals that change nothing, and taking over from another writer. */
import t from 'tap'
import { RingpathError } from '../../src/base/errors.js'
import type { Prng } from '../../src/base/prng.js'
import { Affinity } from '../../src/lb/affinity.js'
import { RegionAllocator } from '../../src/lb/region-allocator.js'
import type { BackendSpec, FrontendSpec, ServiceSpec } from '../../src/lb/service-spec.js'
import { ServiceWriter } from '../../src/lb/service-writer.js'
import { SourceRanges } from '../../src/lb/source-ranges.js'
import { parseAddress } from '../../src/wire/address.js'
import { seededPrng } from '../support/seed.js'
import {
  expectedAnswer,
  leftovers,
  ServiceView,
  SMALL,
  serviceMaps,
} from '../support/service-model.js'

const OPTIONS = {
  node: { isLocalAddress: () => false, addresses: () => [] },
  maglevTableSize: 251,
}
const PROTOCOLS = ['TCP', 'UDP', 'ANY'] as const
const TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalIP'] as const
const STATES = ['active', 'active', 'terminating', 'quarantined', 'maintenance'] as const

const web = (options: Partial<ServiceSpec> = {}): ServiceSpec => ({
  name: 'web',
  frontends: [{ address: '10.96.0.1', port: 80, protocol: 'TCP', type: 'ClusterIP' }],
  backends: [{ address: '10.0.1.1', port: 8080 }],
  ...options,
})

function pick<T>(random: Prng, list: readonly T[]): T {
  return list[random.below(list.length)] as T
}

/** Frontends are numbered, and each belongs to one service name, so that no two services ask for the same. */
function randomSpec(random: Prng, service: number): ServiceSpec {
  const frontends: FrontendSpec[] = []
  for (let i = 0; i < 4; i++) {
    if (i > 0 && random.chance(0.5)) continue
    const address = `10.96.0.${1 + ((service + i) % 3)}`
    const protocol = pick(random, PROTOCOLS)
    frontends.push({ address, port: 100 * (service + 1) + i, protocol, type: pick(random, TYPES) })
  }
  const backends: BackendSpec[] = []
  for (let i = 0; i < 6; i++) {
    if (random.chance(0.5)) continue
    const weight = random.below(4)
    const place = { address: `10.0.1.${i}`, port: 8080, isLocal: i < 3 }
    backends.push({ ...place, weight, state: pick(random, STATES) })
  }
  return {
    name: `service${service}`,
    frontends,
    backends,
    algorithm: pick(random, ['random', 'maglev']),
    sessionAffinitySeconds: pick(random, [0, 10]),
    internalTrafficPolicy: pick(random, ['Cluster', 'Local']),
    externalTrafficPolicy: pick(random, ['Cluster', 'Local']),
    sourceRanges: pick(random, [[], ['10.0.0.0/8'], ['0.0.0.0/0', '192.0.2.1/32']]),
  }
}

/** False when it was refused for want of room. */
function isSet(writer: ServiceWriter, spec: ServiceSpec): boolean {
  try {
    writer.set(spec)
    return true
  } catch (error) {
    if (error instanceof RingpathError && error.code === 'EMAP_FULL') return false
    throw error
  }
}

t.test('the maps answer as the model does, through any changes', async (t) => {
  const random = seededPrng(t)
  const maps = serviceMaps()
  const model = new Map<string, ServiceSpec>()
  let writer = new ServiceWriter(maps, OPTIONS)
  const view = new ServiceView(maps)
  let refused = 0
  let wrong = 0
  for (let step = 0; step < 400; step++) {
    const spec = randomSpec(random, random.below(6))
    const isDeletion = random.chance(0.2)
    if (isDeletion) {
      t.equal(writer.delete(spec.name), model.delete(spec.name))
    } else {
      if (isSet(writer, spec)) model.set(spec.name, spec)
      else refused++
    }
    if (random.chance(0.05)) {
      writer = new ServiceWriter(maps, OPTIONS)
      const lost = [...model.values()].filter((known) => !isSet(writer, known))
      for (const { name } of lost) model.delete(name)
      const left = writer.deleteUnclaimed()
      t.equal(left > 0, lost.length > 0, 'only what could not be set again goes')
    }
    for (let service = 0; service < 6; service++) {
      for (let i = 0; i < 5; i++) {
        const address = `10.96.0.${1 + ((service + i) % 3)}`
        const asked = { address, port: 100 * (service + 1) + i, protocol: pick(random, PROTOCOLS) }
        const expected = expectedAnswer(model.values(), asked)
        const found = view.ask(asked)
        if (found !== expected && wrong++ < 5) t.equal(found, expected, JSON.stringify(asked))
      }
    }
  }
  t.equal(wrong, 0)
  t.comment(`${refused} refused`)
  for (const name of [...model.keys()]) writer.delete(name)
  t.same(leftovers(maps), [])
})

t.test('what does not fit is refused with EMAP_FULL, and nothing has changed', async (t) => {
  const cases = {
    lb4_backends_v3: web({
      backends: Array.from({ length: 70 }, (_, i) => ({ address: `10.0.2.${i}`, port: 1 })),
    }),
    lb4_backend_slots: web({
      frontends: (['TCP', 'UDP', 'SCTP'] as const).map((protocol, i) => {
        return { address: '10.96.0.1', port: 90 + i, protocol, type: 'ClusterIP' }
      }),
      backends: Array.from({ length: 18 }, (_, i) => ({ address: `10.0.2.${i}`, port: 1 })),
    }),
    lb4_maglev: web({ algorithm: 'maglev' }),
    lb4_services_v2: web({
      frontends: Array.from({ length: 62 }, (_, i) => {
        return { address: `10.96.1.${i}`, port: 80, protocol: 'TCP', type: 'ClusterIP' }
      }),
    }),
    lb4_reverse_nat: web({
      frontends: Array.from({ length: 63 }, (_, i) => {
        return { address: '10.96.1.1', port: 80 + i, protocol: 'TCP', type: 'ExternalIP' }
      }),
    }),
    lb4_source_range: web({
      sourceRanges: Array.from({ length: 33 }, (_, i) => `10.0.${i}.0/24`),
    }),
    lb_affinity_match: web({
      sessionAffinitySeconds: 1,
      frontends: [1, 2, 3, 4, 5, 6].map((port) => {
        return { address: '10.96.1.1', port, protocol: 'TCP', type: 'ClusterIP' }
      }),
      backends: Array.from({ length: 11 }, (_, i) => ({ address: `10.0.2.${i}`, port: 1 })),
    }),
  }
  for (const [map, spec] of Object.entries(cases)) {
    const sizes = { ...SMALL, maglevWords: map === 'lb4_maglev' ? 250 : SMALL.maglevWords }
    const maps = serviceMaps(map === 'lb4_backend_slots' ? { ...sizes, slots: 40 } : sizes)
    const writer = new ServiceWriter(maps, OPTIONS)
    writer.set(web())
    const view = new ServiceView(maps)
    t.throws(() => writer.set(spec), { code: 'EMAP_FULL', message: new RegExp(map) })
    t.equal(view.ask(web().frontends[0] as FrontendSpec), '10.0.1.1:8080 back to 10.96.0.1:80')
    writer.delete('web')
    t.same(leftovers(maps), [], map)
  }
})

t.test('a wrong field is refused by name, with what was found and expected', async (t) => {
  const writer = new ServiceWriter(serviceMaps(), OPTIONS)
  const front = (change: object) =>
    web({ frontends: [{ ...(web().frontends[0] as FrontendSpec), ...change }] })
  const back = (change: object) =>
    web({ backends: [{ ...(web().backends[0] as BackendSpec), ...change }] })
  const cases: [ServiceSpec, RegExp][] = [
    [web({ name: '' }), /service.name: '', expected a name/],
    [web({ frontends: [] }), /frontends: \[\], expected at least one frontend/],
    [front({ address: 'fd00::1' }), /frontends\[0\].address: 'fd00::1', expected an IPv4 address/],
    [front({ port: 0 }), /frontends\[0\].port: '0', expected a whole number from 1 to 65535/],
    [front({ port: 65_536 }), /frontends\[0\].port: '65536'/],
    [front({ protocol: 'ICMP' }), /frontends\[0\].protocol: 'ICMP', expected one of TCP, UDP/],
    [front({ type: 'Headless' }), /frontends\[0\].type: 'Headless', expected one of ClusterIP/],
    [back({ address: '10.0.1.256' }), /backends\[0\].address: '10.0.1.256'/],
    [back({ port: 1.5 }), /backends\[0\].port: '1.5'/],
    [back({ weight: 65_536 }), /backends\[0\].weight: '65536', expected a whole number from 0/],
    [back({ state: 'toString' }), /backends\[0\].state: 'toString', expected one of active/],
    [web({ algorithm: 'least' as 'random' }), /algorithm: 'least', expected one of random, maglev/],
    [web({ sessionAffinitySeconds: -1 }), /sessionAffinitySeconds: '-1'/],
    [web({ sourceRanges: ['10.0.0.0/33'] }), /sourceRanges\[0\]: '10.0.0.0\/33', expected an IPv4/],
    [web({ externalTrafficPolicy: 'local' as 'Local' }), /externalTrafficPolicy: 'local'/],
  ]
  for (const [spec, message] of cases) {
    t.throws(() => writer.set(spec), { code: 'ECONFIG_INVALID', message })
  }
  const twice = [...web().frontends, ...web().frontends]
  t.throws(() => writer.set(web({ frontends: twice })), { message: /listed before/ })
  writer.set(web())
  t.throws(() => writer.set(web({ name: 'thief' })), { message: /one that 'web' does not have/ })
  t.throws(() => new ServiceWriter(serviceMaps(), { ...OPTIONS, maglevTableSize: 1000 }), {
    code: 'ECONFIG_INVALID',
    message: /maglevTableSize: '1000', expected one of 251/,
  })
})

t.test('a backend’s id is never another’s', async (t) => {
  const maps = serviceMaps({ ...SMALL, backends: 3 })
  const writer = new ServiceWriter(maps, OPTIONS)
  const seen = new Set<number>()
  for (let i = 0; i < 200; i++) {
    writer.set(web({ backends: [{ address: `10.0.1.${i}`, port: 8080 }] }))
    const id = maps.slots.words[maps.slots.valueStart(0)] as number
    const other = maps.slots.words[maps.slots.valueStart(1)] as number
    const current = [id, other].filter((one) => new ServiceView(maps).backends.load(one))
    t.equal(current.length, 1)
    t.notOk(seen.has(current[0] as number))
    seen.add(current[0] as number)
  }
})

t.test('a new writer takes over: indexes and ids stay, the unclaimed go', async (t) => {
  const maps = serviceMaps()
  const first = new ServiceWriter(maps, OPTIONS)
  const old = web({
    name: 'old',
    sessionAffinitySeconds: 5,
    sourceRanges: ['10.0.0.0/8'],
    algorithm: 'maglev',
    frontends: [{ address: '10.96.0.2', port: 80, protocol: 'TCP', type: 'LoadBalancer' }],
  })
  first.set(web())
  first.set(old)
  const view = new ServiceView(maps)
  const ask = () => view.ask(web().frontends[0] as FrontendSpec)
  const before = ask()
  const index = view.services.revNatIndex
  const second = new ServiceWriter(maps, OPTIONS)
  t.equal(ask(), before, 'nothing changes by taking over')
  second.set(web())
  t.equal(ask(), before)
  t.equal(view.services.revNatIndex, index)
  t.equal(second.deleteUnclaimed(), 1)
  t.equal(view.ask(old.frontends[0] as FrontendSpec), 'none')
  t.equal(ask(), before)
  second.delete('web')
  t.same(leftovers(maps), [])
})

t.test('source ranges admit what they hold, and change with the service', async (t) => {
  const maps = serviceMaps()
  const writer = new ServiceWriter(maps, OPTIONS)
  const ranges = new SourceRanges(maps.sourceRanges, maps.sourceRangeLengths)
  writer.set(web({ sourceRanges: ['10.0.0.0/8', '192.0.2.1/32'] }))
  const admits = (address: string) => ranges.admits(1, parseAddress(address), 0)
  t.same(['10.255.0.1', '192.0.2.1', '192.0.2.2', '11.0.0.1'].map(admits), [
    true,
    true,
    false,
    false,
  ])
  writer.set(web({ sourceRanges: ['11.0.0.0/8'] }))
  t.same(['10.255.0.1', '192.0.2.1', '11.0.0.1'].map(admits), [false, false, true])
  writer.set(web())
  t.notOk(admits('11.0.0.1'))
})

t.test('runs are handed out once and joined again', async (t) => {
  const random = seededPrng(t)
  const allocator = new RegionAllocator(1000)
  const taken: [number, number][] = []
  const owner = new Int8Array(1000)
  for (let step = 0; step < 5000; step++) {
    if (random.chance(0.5)) {
      const length = random.below(60)
      const start = allocator.take(length)
      if (start < 0 || length === 0) continue
      const cells = owner.subarray(start, start + length)
      if (cells.length !== length || cells.some((cell) => cell !== 0)) t.fail('given out twice')
      cells.fill(1)
      taken.push([start, length])
    } else if (taken.length > 0) {
      const [start, length] = taken.splice(random.below(taken.length), 1)[0] as [number, number]
      owner.fill(0, start, start + length)
      allocator.give(start, length)
    }
    if (allocator.freeWords !== owner.filter((cell) => cell === 0).length) t.fail('words lost')
  }
  for (const [start, length] of taken) allocator.give(start, length)
  t.equal(allocator.take(1000), 0, 'all in one piece again')
})

t.test('what is remembered of a client is as before when its packet is dropped', async (t) => {
  const maps = serviceMaps()
  const affinity = new Affinity(maps.affinity, maps.affinityMatch)
  const client = Int32Array.of(0, 0, 0xffff, 0x0a00_0909)
  affinity.beginPacket()
  affinity.remember(client, 0, 1, 3, 1000)
  const slot = [...maps.affinity.slots()][0] as number
  const memory = (): number[] => {
    const start = maps.affinity.valueStart(slot)
    return [...maps.affinity.words.slice(start, start + maps.affinity.spec.valueWords)]
  }
  const before = memory()
  affinity.beginPacket()
  t.equal(affinity.recall(client, 0, 1, 60, 1100), 0, 'too old')
  t.equal(affinity.claim(client, 0, 1, 5, 1100), 5)
  affinity.remember(client, 0, 1, 5, 1100)
  t.notSame(memory(), before)
  affinity.undo()
  t.same(memory(), before)
  t.equal(maps.affinity.size, 1)
})
