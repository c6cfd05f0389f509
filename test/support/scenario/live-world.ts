/**
 * Scenarios on a LiveNode: a datapath process on real AF_XDP, one for all of them. Pods, the node's
 * stack and the outside are stood in for by programs that own the far ends of the devices, so that no
 * kernel answers of itself. Between two scenarios the node is made as it was.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MonotonicClock } from '../../../src/base/clock.js'
import type { Namespace } from '../../../src/lab/lab.js'
import type { LabProcess } from '../../../src/lab/lab-process.js'
import type { LruHashMap } from '../../../src/maps/lru-hash-map.js'
import { EVENT_WORDS } from '../../../src/monitor/event.js'
import { type MetricLine, readMetrics } from '../../../src/monitor/metrics.js'
import { parseCidr } from '../../../src/wire/address.js'
import {
  GATEWAY_ADDRESS,
  type LiveNode,
  NODE_ADDRESS,
  OUTSIDE_ADDRESS,
  UPLINK_ADDRESS,
} from '../live-node.js'
import { fromHex, toHex } from './hex.js'
import { Names, type PortNames } from './names.js'
import { configure } from './setup.js'
import type { NodeSpec } from './types.js'
import type { SentFrame, World } from './world.js'

const PROGRAM = fileURLToPath(new URL('../programs/frame-port.js', import.meta.url))
const PODS_MAX = 4
const HOST_ENDPOINT_ID = 0xffff
const HOST_DEVICE = 'ringpath_host'
const UPLINK_DEVICE = 'uplink0'
/** Until the datapath has had a frame. */
const TAKEN_MILLISECONDS = 5000
const SETTLED_MILLISECONDS = 3
const ANSWERED_MILLISECONDS = 30
const ARRIVED_MILLISECONDS = 5000

interface FarEnd {
  readonly names: Omit<PortNames, 'name'>
  readonly program: LabProcess
  /** The datapath's port, and how many frames the program has sent to it. */
  readonly port: number
  sent: number
  /** Characters of its output that have been read. */
  read: number
}

/** The node and the programs behind its devices, shared by all scenarios. */
export class LiveStage {
  readonly live: LiveNode
  readonly pods: FarEnd[] = []
  host: FarEnd | undefined
  uplink: FarEnd | undefined

  constructor(live: LiveNode) {
    this.live = live
  }

  /** @param live not yet started, without pods */
  static async create(live: LiveNode): Promise<LiveStage> {
    const stage = new LiveStage(live)
    const { node } = live
    for (let i = 1; i <= PODS_MAX; i++) {
      const pod = await live.pod(`p${i}`)
      const { podMac: mac, hostMac: nodeMac, address, identity, id: endpointId } = pod
      stage.pods.push(
        await stage.#farEnd(pod, 'eth0', pod.port, { mac, nodeMac, address, identity, endpointId }),
      )
    }
    const own = { identity: 1, endpointId: HOST_ENDPOINT_ID }
    const mac = await macOf(live, node, HOST_DEVICE)
    const nodeMac = await macOf(live, node, 'ringpath_net')
    const address = NODE_ADDRESS
    const { hostPort } = live.maps.node
    stage.host = await stage.#farEnd(node, HOST_DEVICE, hostPort, { mac, nodeMac, address, ...own })
    if (live.hasUplink) await stage.#addOutside(own)
    await live.start()
    return stage
  }

  async #addOutside(own: Pick<PortNames, 'identity' | 'endpointId'>): Promise<void> {
    const { lab, node, outside } = this.live
    const gateway = await macOf(this.live, outside, 'eth0')
    await lab.exec(node, 'ip', [
      ...['neighbour', 'replace', GATEWAY_ADDRESS, 'lladdr', gateway],
      ...['dev', UPLINK_DEVICE, 'nud', 'permanent'],
    ])
    // Frames that the node's stack sends for itself are nobody's answer: it asks for no neighbour.
    await lab.sysctl(node, { [`net.ipv4.neigh.${UPLINK_DEVICE}.mcast_solicit`]: '0' })
    this.uplink = await this.#farEnd(outside, 'eth0', this.live.uplinkPort, {
      mac: gateway,
      nodeMac: await macOf(this.live, node, UPLINK_DEVICE),
      address: UPLINK_ADDRESS,
      ...own,
    })
  }

  async #farEnd(
    ns: Namespace,
    device: string,
    port: number,
    names: FarEnd['names'],
  ): Promise<FarEnd> {
    const args = ['--enable-source-maps', PROGRAM, device]
    const program = this.live.lab.spawn(ns, process.execPath, args)
    await program.waitForOutput(/ready\n/)
    return { names, program, port, sent: 0, read: program.output.length }
  }
}

export class LiveWorld implements World {
  readonly names = new Names()
  readonly isLive = true
  readonly countersBefore: readonly MetricLine[]
  readonly #live: LiveNode
  readonly #ends = new Map<string, FarEnd>()
  readonly #clock = new MonotonicClock()
  readonly #event = new Int32Array(EVENT_WORDS)
  readonly #services = new Set<string>()
  readonly #prefixes = new Set<string>()
  readonly #stage: LiveStage

  private constructor(stage: LiveStage) {
    this.#stage = stage
    this.#live = stage.live
    this.countersBefore = readMetrics(stage.live.maps.metrics)
    for (const [name, end] of [
      ['host', stage.host],
      ['uplink', stage.uplink],
    ] as const) {
      if (end !== undefined) this.#add(name, end)
    }
    this.names.define('gateway', GATEWAY_ADDRESS)
    this.names.define('outside', OUTSIDE_ADDRESS)
  }

  static async create(stage: LiveStage, spec: NodeSpec): Promise<LiveWorld> {
    const world = new LiveWorld(stage)
    world.#forget()
    await world.configure(spec)
    // The uplink's steering follows the maps with the worker's housekeeping.
    if (spec.uplink === true) await stage.live.settled()
    world.events()
    for (const end of world.#ends.values()) end.read = end.program.output.length
    return world
  }

  get maps() {
    return this.#live.maps
  }

  get controller() {
    return this.#live.controller
  }

  get nowSeconds(): number {
    return this.#clock.seconds()
  }

  async configure(spec: NodeSpec): Promise<void> {
    for (const [i, pod] of (spec.pods ?? []).entries()) {
      const end = this.#stage.pods[i]
      if (end === undefined) throw new Error(`a live node has ${PODS_MAX} pods`)
      this.#add(typeof pod === 'string' ? pod : pod.name, end)
    }
    for (const { name } of spec.services ?? []) this.#services.add(name)
    for (const prefix of Object.keys(spec.identities ?? {})) this.#prefixes.add(prefix)
    const idOf = (pod: string) => this.names.port(pod).endpointId
    configure(this.controller, this.names, spec, idOf, this.nowSeconds)
  }

  async exchange(port: string, frame: Uint8Array): Promise<SentFrame[]> {
    const before = counts(this)
    const end = this.#end(port)
    end.program.write(`${toHex(frame)}\n`)
    end.sent++
    // A frame that is consumed is counted by its port alone, which tells after a while.
    const isTaken = () =>
      counts(this).all !== before.all ||
      this.#live.portStatistics(end.port).receivedFrames >= end.sent
    await until(isTaken, TAKEN_MILLISECONDS)
    await sleep(SETTLED_MILLISECONDS)
    const forwarded = () => counts(this).forwarded - before.forwarded
    // A drop that is answered is counted before its answer, and the worker may lose its core between them.
    await until(() => forwarded() > 0, ANSWERED_MILLISECONDS)
    const wanted = forwarded()
    const sent: SentFrame[] = []
    await until(() => sent.push(...this.#arrived()) >= wanted, ARRIVED_MILLISECONDS)
    return sent
  }

  async advance(): Promise<void> {
    throw new Error('time cannot be made to pass on a live node')
  }

  events(): Int32Array[] {
    const found: Int32Array[] = []
    while (this.maps.events.read(this.#event)) found.push(this.#event.slice())
    return found
  }

  /** Makes the node as a scenario finds it. */
  restore(): void {
    const { controller, maps } = this
    for (const name of this.#services) controller.deleteService(name)
    for (const prefix of this.#prefixes) {
      const { words, prefixBits } = parseCidr(prefix)
      maps.ipcache.delete(words, prefixBits)
    }
    for (let id = 1; id <= PODS_MAX; id++) {
      controller.setPolicy(id, { enforceIngress: false, enforceEgress: false, rules: [] })
    }
    controller.setServiceOptions({
      loopback: '169.254.42.1',
      noBackendResponse: 'reject',
      externalClusterIp: false,
    })
    controller.setNodeOptions({ fragmentTracking: true, policyDenyResponse: 'none' })
    controller.setPolicyAudit(false)
    controller.setHostFirewall(false)
    controller.netdev.setDeniedSources([])
    controller.setMasquerade({ enabled: false })
    this.#forget()
  }

  #forget(): void {
    const { conntrackTable, nat, services, fragmentsMap } = this.maps
    const tables: LruHashMap[] = [conntrackTable, nat.snat, services.affinity, fragmentsMap]
    for (const table of tables) for (const slot of table.slots()) table.deleteSlot(slot)
  }

  #add(name: string, end: FarEnd): void {
    this.#ends.set(name, end)
    this.names.addPort({ name, ...end.names })
  }

  #end(port: string): FarEnd {
    const end = this.#ends.get(this.names.port(port).name)
    if (end === undefined) throw new Error(`'${port}' is no port of the live node`)
    return end
  }

  #arrived(): SentFrame[] {
    const sent: SentFrame[] = []
    for (const [port, end] of this.#ends) {
      const text = end.program.output.slice(end.read)
      for (const [line, hex = ''] of text.matchAll(/got ([0-9a-f]+)\n/g)) {
        end.read += line.length
        sent.push({ port, bytes: fromHex(hex) })
      }
    }
    return sent
  }
}

/** Frames counted by any reason, and those that left. */
function counts(world: World): { readonly all: number; readonly forwarded: number } {
  let [all, forwarded] = [0, 0]
  for (const { reason, frames } of readMetrics(world.maps.metrics)) {
    all += frames
    if (reason === 0) forwarded += frames
  }
  return { all, forwarded }
}

async function until(isSo: () => boolean, limitMilliseconds: number): Promise<void> {
  const deadline = performance.now() + limitMilliseconds
  while (!isSo() && performance.now() < deadline) await sleep(1)
}

async function macOf(live: LiveNode, ns: Namespace, device: string): Promise<string> {
  const { stdout } = await live.lab.exec(ns, 'ip', ['-json', 'link', 'show', 'dev', device])
  const [link] = JSON.parse(stdout) as [{ readonly address: string }]
  return link.address
}
