/**
 * An uplink under random traffic, part of it damaged: clients of services outside, backends here and
 * elsewhere, masqueraded pods, the node's own processes, and ICMP errors about all of them. One node
 * repeats flows, its twin does not, and nobody may be able to tell which is which.
 */
import t from 'tap'
import type { Prng } from '../../src/base/prng.js'
import { readMetrics } from '../../src/monitor/metrics.js'
import type { MemoryPort } from '../../src/port/memory-port.js'
import { eth, type PacketBuilder } from '../support/packet-builder.js'
import { describe } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { seededPrng } from '../support/seed.js'
import { VIP } from '../support/service-node.js'
import {
  HOST_MAC,
  NODE_ADDRESS,
  NODE_MAC,
  TestNode,
  type TestPod,
  UPLINK_ADDRESS,
} from '../support/test-node.js'
import { fromOutside } from '../support/uplink-node.js'

const ROUNDS = 1500
const REMOTE = '10.0.2.1'
const CLIENTS = ['198.51.100.1', '198.51.100.2', '203.0.113.9']
const FLAGS = ['SYN', 'SYN ACK', 'ACK', 'ACK', 'PSH ACK', 'FIN ACK', 'RST']
const LOCAL_PORT = 30_080
const REMOTE_PORT = 30_081

class World {
  readonly node: TestNode
  readonly pods: readonly TestPod[]
  readonly ports: readonly MemoryPort[]

  constructor(repeatsFlows: boolean) {
    const node = new TestNode({ hasUplink: true, repeatsFlows })
    this.node = node
    this.pods = [node.pod(), node.pod(), node.pod()]
    this.ports = [node.uplink, node.host, ...this.pods.map((pod) => pod.port)]
    node.controller.setMasquerade({ enabled: true })
    const backends = this.pods.slice(0, 2).map(({ address }) => ({ address, port: 8080 }))
    for (const protocol of ['TCP', 'UDP'] as const) {
      const at = (address: string, port: number) => ({ address, port, protocol })
      node.controller.setService({
        name: `local ${protocol}`,
        frontends: [
          { ...at('0.0.0.0', LOCAL_PORT), type: 'NodePort' },
          { ...at(VIP, 80), type: 'ClusterIP' },
        ],
        backends,
        algorithm: 'maglev',
      })
      node.controller.setService({
        name: `remote ${protocol}`,
        frontends: [{ ...at('0.0.0.0', REMOTE_PORT), type: 'NodePort' }],
        backends: [
          { address: REMOTE, port: 8080 },
          { address: NODE_ADDRESS, port: 8080 },
        ],
        algorithm: 'maglev',
      })
    }
  }

  /** All that comes out for the frame, as text and as bytes. */
  send(port: number, frame: Uint8Array): Uint8Array[][] {
    this.node.send(this.ports[port] as MemoryPort, frame)
    return this.ports.map((p) => p.take())
  }
}

const pick = <T>(prng: Prng, from: readonly T[]): T => from[prng.below(from.length)] as T

/** Who sends, by index in `ports`, and what. */
function randomFrame(prng: Prng, world: World, seen: readonly Uint8Array[]): [number, Uint8Array] {
  const client = pick(prng, CLIENTS)
  const sport = 50_000 + prng.below(3)
  const ttl = prng.chance(0.95) ? 64 : prng.below(3)
  const pod = prng.below(world.pods.length)
  const { mac, address } = world.pods[pod] as TestPod
  const fromPod = (to: string) => eth({ from: mac, to: NODE_MAC }).ipv4({ from: address, to, ttl })
  const fromHost = (to: string, from = NODE_ADDRESS) =>
    eth({ from: HOST_MAC, to: NODE_MAC }).ipv4({ from, to, ttl })
  const upper = (packet: PacketBuilder, from: number, to: number): Uint8Array => {
    const partial = prng.chance(0.2) ? { partialChecksum: true } : {}
    const flags = pick(prng, FLAGS)
    const built = prng.chance(0.6)
      ? packet.tcp({ from, to, flags, ...partial })
      : packet.udp({ from, to, ...partial })
    return built.payload('x'.repeat(prng.below(40))).bytes()
  }
  const quoted = pick(prng, [...seen, upper(fromOutside(address), 1, 2)]).subarray(14)
  const error = { type: pick(prng, [3, 3, 11, 12]), code: prng.below(5), quoted }
  switch (prng.below(11)) {
    case 0:
      return [0, upper(fromOutside(UPLINK_ADDRESS, client, ttl), sport, LOCAL_PORT)]
    case 1:
      return [0, upper(fromOutside(UPLINK_ADDRESS, client, ttl), sport, REMOTE_PORT)]
    case 2:
      return [0, upper(fromOutside(UPLINK_ADDRESS, REMOTE, ttl), 8080, sport)]
    case 3:
      return [2 + pod, upper(fromPod(client), 8080, sport)]
    case 4:
      return [2 + pod, upper(fromPod(pick(prng, [client, VIP, UPLINK_ADDRESS])), sport, 80)]
    case 5:
      return [0, upper(fromOutside(pick(prng, [UPLINK_ADDRESS, address]), client), 80, sport)]
    case 6:
      return [1, upper(fromHost(pick(prng, [VIP, address])), sport, 80)]
    case 7:
      return [1, upper(fromHost('169.254.42.1'), 8080, sport)]
    case 8:
      return [2 + pod, upper(fromPod(NODE_ADDRESS), 8080, sport)]
    case 9:
      return [0, fromOutside(UPLINK_ADDRESS, client).icmpError(error).bytes()]
    default:
      return prng.chance(0.5)
        ? [2 + pod, fromPod(client).icmpError(error).bytes()]
        : [2 + pod, fromPod(client).icmpEcho({ id: sport }).bytes()]
  }
}

/** Cut short, or with some bytes changed. */
function damage(prng: Prng, frame: Uint8Array): Uint8Array {
  if (prng.chance(0.3)) return frame.slice(0, 14 + prng.below(frame.length - 14))
  const damaged = frame.slice()
  for (let i = 1 + prng.below(3); i > 0; i--) {
    damaged[12 + prng.below(Math.min(60, frame.length - 12))] = prng.below(256)
  }
  return damaged
}

const dropsOf = (world: World) =>
  readMetrics(world.node.maps.metrics)
    .filter(({ reason }) => reason >= 130)
    .map(({ reason, direction, frames }) => `${reason}/${direction}: ${frames}`)

t.test('what leaves is right when what came was, and never depends on the lane', async (t) => {
  const prng = seededPrng(t)
  const worlds = [new World(true), new World(false)] as const
  let seen: Uint8Array[] = []
  let left = 0
  for (let round = 0; round < ROUNDS; round++) {
    const [port, frame] = randomFrame(prng, worlds[0], seen)
    const isDamaged = prng.chance(0.25)
    const sent = isDamaged ? damage(prng, frame) : frame
    const [outputs, others] = worlds.map((world) => world.send(port, sent)) as [
      Uint8Array[][],
      Uint8Array[][],
    ]
    const [lines, otherLines] = [outputs, others].map((all) => all.map((f) => f.map(describe)))
    if (JSON.stringify(lines) !== JSON.stringify(otherLines)) {
      t.same(lines, otherLines, `round ${round}: ${describe(sent)}`)
      break
    }
    const frames = outputs.flat()
    left += frames.length
    const isRight = parseFrame(sent).problems.length === 0
    for (const out of frames) {
      const { problems } = parseFrame(out)
      if (!isRight || problems.length === 0) continue
      t.fail(`round ${round}: ${describe(sent)} became ${describe(out)}`)
    }
    if (!isDamaged) seen = [...frames, ...seen].slice(0, 20)
    // No entry expires: a lane refreshes it a second later than the chain, and so may the twin's.
    if (round % 60 === 0) for (const { node } of worlds) node.clock.advanceSeconds(1)
  }
  t.same(dropsOf(worlds[0]), dropsOf(worlds[1]))
  t.ok(left > ROUNDS / 3, `${left} frames left`)
  for (const { node } of worlds) node.close()
})

t.test('what a connection makes void is not repeated, whatever packet it began with', async (t) => {
  const world = new World(true)
  const [client] = CLIENTS as [string]
  const fromClient = fromOutside(UPLINK_ADDRESS, client).udp({ from: 50_001, to: REMOTE_PORT })
  const request = fromClient.payload('request').bytes()
  // The UDP header's length is none that the lane would take.
  request[39] = 115
  const reply = (text: string): string[] => {
    const packet = fromOutside(UPLINK_ADDRESS, REMOTE).udp({ from: 8080, to: 50_001 })
    return world.send(0, packet.payload(text).bytes()).flat().map(describe)
  }
  for (let i = 0; i < 3; i++) t.match(reply('to nobody'), [/> 192\.0\.2\.2\.50001/])
  t.match(world.send(0, request).flat().map(describe), [/192\.0\.2\.2\.50001 > 10\.0\.2\.1\.8080/])
  t.match(reply('to the client'), [/192\.0\.2\.2\.30081 > 198\.51\.100\.1\.50001/])
  world.node.close()
})

t.end()
