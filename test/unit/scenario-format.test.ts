/** The scenario format itself: what is refused, what a failing one tells, what is free. */
import t from 'tap'
import { parseFrame } from '../support/packet-parser.js'
import { encodeFrame, readFrame, resolveLayers } from '../support/scenario/frame.js'
import { toHex } from '../support/scenario/hex.js'
import { mergeNodes, parseFile } from '../support/scenario/load.js'
import { MemoryWorld } from '../support/scenario/memory-world.js'
import { Names } from '../support/scenario/names.js'
import { runScenario } from '../support/scenario/run.js'
import type { Expectation, FreeField, Layers, Step } from '../support/scenario/types.js'

const DATAGRAM: Layers = {
  ipv4: { from: 'client', to: 'server' },
  udp: { from: 1000, to: 53 },
  payload: 'query',
}

const fileOf = (...steps: readonly object[]) => {
  const scenario = { name: 'a scenario of this test', reference: 'none', steps }
  return JSON.stringify({ about: '', node: { pods: ['client', 'server'] }, scenarios: [scenario] })
}

async function run(...steps: readonly Step[]): Promise<string[]> {
  const [loaded] = parseFile('x.json', fileOf(...steps))
  if (loaded === undefined) throw new Error('no scenario')
  const world = await MemoryWorld.create(loaded.node)
  const differences = await runScenario(loaded, world)
  world.close()
  return differences
}

const datagram = (expect: Expectation): Step => ({ in: 'client', frame: DATAGRAM, expect })

t.test('an unknown key is refused with file, scenario and key', async (t) => {
  const step = { in: 'client', frame: DATAGRAM, expect: { drpo: 133 } }
  t.throws(() => parseFile('pods/x.json', fileOf(step)), {
    message:
      /^pods\/x\.json: scenario 'a scenario of this test': steps\[0\]\.expect\.drpo: unknown/,
  })
  const field = { ...step, frame: { ipv4: { form: 'client' } }, expect: { drop: 133 } }
  t.throws(() => parseFile('pods/x.json', fileOf(field)), { message: /frame\.ipv4\.form: unknown/ })
})

t.test('a frame needs one verdict, and a step is one thing', async (t) => {
  const frame = { in: 'client', frame: DATAGRAM }
  t.throws(() => parseFile('x.json', fileOf(frame)), { message: /needs one of out, drop/ })
  const both = { ...frame, expect: { drop: 133, consumed: true } }
  t.throws(() => parseFile('x.json', fileOf(both)), { message: /needs one of out, drop/ })
  const mixed = { ...frame, seconds: 1, expect: { drop: 133 } }
  t.throws(() => parseFile('x.json', fileOf(mixed)), { message: /something else in one step/ })
  t.throws(() => parseFile('x.json', fileOf({ why: 'idle' })), { message: /neither a frame/ })
})

t.test('what holds has no differences', async (t) => {
  t.same(await run(datagram({ out: { port: 'server', changed: { ipv4: { ttl: 63 } } } })), [])
})

t.test('a wrong field is told by its layer, with frames and events', async (t) => {
  const differences = await run(
    datagram({ out: { port: 'server', changed: { ipv4: { ttl: 62 } } } }),
  )
  t.equal(differences[0], 'step 0: ipv4.ttl is 63, expected 62')
  t.match(differences.join('\n'), /in by client: .*10\.0\.1\.1\.1000 > 10\.0\.1\.2\.53/)
  t.match(differences.join('\n'), /out by server: /)
  t.match(differences.join('\n'), /event: trace 0/)
})

t.test('a wrong verdict, port or state is told', async (t) => {
  t.match(await run(datagram({ drop: 133 })), [/dropped with nothing, expected 133/, /1 frames/])
  t.match(await run(datagram({ out: { port: 'host' } })), [/out by server, expected "host"/])
  const spoofed = { ...DATAGRAM, ipv4: { from: '10.9.9.9', to: 'server' } }
  const step: Step = { in: 'client', frame: spoofed, expect: { out: { port: 'server' } } }
  t.match(await run(step), [/dropped with 132, expected none/])
  const out = { port: 'server', changed: { ipv4: { ttl: 63 } } }
  t.match(await run(datagram({ out, state: { connectionCount: 3 } })), [
    /2 connections, expected 3/,
  ])
  const events = [{ type: 'drop', code: 133 }] as const
  t.match(await run(datagram({ out, events })), [/no event/])
})

t.test('a free field may be anything within its bounds, and is bound to a name', async (t) => {
  const out = (free: Readonly<Record<string, FreeField>>) => ({
    port: 'server',
    frame: DATAGRAM,
    free,
  })
  const free = { 'ipv4.ttl': { as: 'ttl', min: 1, max: 63 } }
  const state = { counters: [{ reason: 0, frames: 1 }] }
  t.same(await run(datagram({ out: out(free), state })), [])
  const bounds = { 'ipv4.ttl': { min: 64 } }
  t.match(await run(datagram({ out: out(bounds) })), [/ipv4\.ttl: 63 < 64/])
})

t.test('frames may come as hex, with free fields too', async (t) => {
  const frame =
    '02000000ff01 020000000001 0800 4500 0020 0000 0000 40 11 0000 0a000101 0a000102' +
    '03e8 0035 000c 0000 61626364'
  const expected = `020000000002 02000000ff01 ${frame.slice(26).replace('40 11', '3f 11')}`
  const fill = (hex: string) =>
    toHex(encodeFrame(readFrame(Buffer.from(hex.replace(/ /g, ''), 'hex'))))
  const step = (free?: string[]): Step => ({
    in: 'client',
    frame: fill(frame),
    expect: { out: { port: 'server', frame: fill(expected), ...(free ? { free } : {}) } },
  })
  t.same(await run(step()), [])
  t.same(await run(step(['ipv4.ttl'])), [])
})

t.test('layers make the frame that the parser reads', async (t) => {
  const names = new Names()
  const link = { mac: '02:00:00:00:00:09', nodeMac: '02:00:00:00:00:0a' }
  names.addPort({ name: 'a', ...link, address: '192.0.2.1', identity: 7, endpointId: 1 })
  names.define('b', '192.0.2.2')
  const layers: Layers = {
    eth: { from: 'a', to: 'a.node' },
    vlans: [{ id: 5 }],
    ipv4: { from: 'a', to: 'b', options: '01010101' },
    udp: { from: 1, to: 8472, checksum: 0 },
    vxlan: { vni: 77, frame: { eth: {}, ipv4: {}, tcp: { flags: 'SYN' }, payload: 'inner' } },
  }
  const frame = encodeFrame(resolveLayers(layers, names))
  t.same(parseFrame(frame).problems, [])
  t.match(readFrame(frame), {
    eth: { from: link.mac, to: link.nodeMac },
    vlans: [{ id: 5 }],
    ipv4: { from: '192.0.2.1', to: '192.0.2.2', options: '01010101' },
    udp: { from: 1, to: 8472, checksum: 0 },
    vxlan: { vni: 77, frame: { tcp: { flags: 'SYN' }, payload: toHex(Buffer.from('inner')) } },
  })
  t.throws(() => names.address('nobody'), { message: /'nobody' is no address; known are a, b/ })
  t.throws(() => names.number('nothing'), { message: /no step has found/ })
})

t.test('a scenario adds to the node of its file', async (t) => {
  const base = { pods: ['a'], names: { x: '10.0.0.1' }, clock: 5 }
  t.same(mergeNodes(base, { pods: ['b'], names: { y: '10.0.0.2' }, clock: 9 }), {
    pods: ['a', 'b'],
    names: { x: '10.0.0.1', y: '10.0.0.2' },
    clock: 9,
  })
})
