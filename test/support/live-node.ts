/**
 * A node on real AF_XDP: namespaces, veths and a datapath process, put together as an agent would.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatapathProcess } from '../../src/daemon/datapath-process.js'
import { NodeController } from '../../src/daemon/node-controller.js'
import { HeartbeatReader } from '../../src/engine/heartbeat.js'
import { Lab, type Namespace, type Pod } from '../../src/lab/lab.js'
import { readMetrics } from '../../src/monitor/metrics.js'
import { DatapathMaps, MAP_SIZES } from '../../src/pipeline/datapath-maps.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import type { PortStatistics } from '../../src/port/port.js'
import { readPortStatistics } from '../../src/port/port-statistics.js'
import { PortStatus } from '../../src/port/port-table.js'
import { PinDirectory } from './pin-directory.js'

export const NODE_ADDRESS = '10.0.0.1'
/** The node's uplink; the far end is the gateway, which has an address of its own behind it. */
export const UPLINK_ADDRESS = '192.0.2.2'
export const GATEWAY_ADDRESS = '192.0.2.1'
export const OUTSIDE_ADDRESS = '198.51.100.1'
const UPLINK_DEVICE = 'uplink0'
const ATTACH_TIMEOUT_MILLISECONDS = 10_000

export interface LivePod extends Pod {
  readonly id: number
  readonly identity: number
  readonly port: number
}

const SETTLED_MILLISECONDS_MAX = 20_000

export interface LiveNodeOptions {
  /** With an uplink to a namespace `outside`, which is also the node's default gateway. */
  readonly hasUplink?: boolean
  /** Another node of the same lab, behind the same router; it closes after this one. */
  readonly beside?: LiveNode
  /**
   * 1 unless given: it is in the addresses of pods and of the node. The uplink of any but the first
   * is 100.64.<number>.2.
   */
  readonly number?: number
  /**
   * Worker threads of its datapath, and queues of its devices; `LIVE_WORKERS` of the environment unless
   * given, or else 1.
   */
  readonly workers?: number
  /** Programs are pinned in a bpffs; they go with the datapath unless this is true. */
  readonly isPinned?: boolean
  /** Of pods, host pair and uplink, unless told otherwise; 1500 unless given. */
  readonly mtuBytes?: number
}

const WORKERS = Number(process.env.LIVE_WORKERS ?? 1)

export class LiveNode {
  readonly lab: Lab
  readonly node: Namespace
  readonly directory: string
  readonly maps: DatapathMaps
  readonly controller: NodeController
  /** Of the host pair, and of the uplink. */
  readonly address: string
  readonly uplinkAddress: string
  readonly workers: number
  readonly #mtu: { readonly mtu?: number }
  readonly #number: number
  readonly pins: PinDirectory | undefined
  readonly #beside: LiveNode | undefined
  datapath: DatapathProcess | undefined
  /** Pods that there were, and ids of those that there are. */
  #pods = 0
  readonly #present = new Set<number>()
  #outside: Namespace | undefined
  #uplinkPort = -1

  private constructor(lab: Lab, node: Namespace, directory: string, options: LiveNodeOptions) {
    this.#number = options.number ?? 1
    this.pins = options.isPinned === true ? new PinDirectory(lab) : undefined
    this.#beside = options.beside
    this.#mtu = options.mtuBytes === undefined ? {} : { mtu: options.mtuBytes }
    const isFirst = this.#number === 1
    this.address = isFirst ? NODE_ADDRESS : `10.0.0.${this.#number}`
    this.uplinkAddress = isFirst ? UPLINK_ADDRESS : `100.64.${this.#number}.2`
    this.lab = lab
    this.node = node
    this.directory = directory
    this.workers = options.workers ?? WORKERS
    this.maps = DatapathMaps.createFiles(directory, { ...MAP_SIZES, workers: this.workers })
    this.controller = new NodeController(this.maps)
  }

  static async create(name: string, options: LiveNodeOptions = {}): Promise<LiveNode> {
    const lab = options.beside?.lab ?? (await Lab.create({ name }))
    const { number = 1 } = options
    const node = await lab.namespace(number === 1 ? 'node' : `node${number}`)
    const directory = mkdtempSync(join(tmpdir(), 'rp-state-'))
    const live = new LiveNode(lab, node, directory, options)
    const { address } = live
    const podCidr = `10.0.${number}.0/24`
    const pair = await lab.hostPair(node, { address, podCidr, queues: live.workers, ...live.#mtu })
    live.controller.addHost({
      device: pair.netDevice,
      addresses: [address],
      mac: pair.hostMac,
      nodeMac: pair.netMac,
    })
    if (options.hasUplink === true) await live.#addUplink()
    return live
  }

  get hasUplink(): boolean {
    return this.#outside !== undefined
  }

  /** -1 without an uplink. */
  get uplinkPort(): number {
    return this.#uplinkPort
  }

  /** The namespace behind the uplink. */
  get outside(): Namespace {
    if (this.#outside === undefined) throw new Error('this node has no uplink')
    return this.#outside
  }

  async #addUplink(): Promise<void> {
    const isFirst = this.#beside === undefined
    const outside = this.#beside?.outside ?? (await this.lab.namespace('outside'))
    this.#outside = outside
    const gateway = isFirst ? GATEWAY_ADDRESS : `100.64.${this.#number}.1`
    const device = isFirst ? 'eth0' : `to-node${this.#number}`
    const link = await this.lab.link({
      a: { ns: this.node, device: UPLINK_DEVICE, address: `${this.uplinkAddress}/24` },
      b: { ns: outside, device, address: `${gateway}/24` },
      queues: this.workers,
      ...this.#mtu,
    })
    if (isFirst) await this.lab.ip(outside, [`address add ${OUTSIDE_ADDRESS}/32 dev lo`])
    await this.lab.ip(this.node, [`route add default via ${gateway}`])
    this.#uplinkPort = this.controller.addUplink({
      device: UPLINK_DEVICE,
      address: this.uplinkAddress,
      mac: link.a.mac,
    })
  }

  /**
   * Pods of node 1 are 10.0.1.1 with identity 301 and so on, of node 4 10.0.4.1 with 1201.
   *
   * @param queues of its device; one for each worker unless given
   * @param mtu of its device in bytes; the node's unless given
   */
  async pod(
    name: string,
    policy?: EndpointPolicy,
    queues = this.workers,
    mtu = this.#mtu.mtu ?? 1500,
  ): Promise<LivePod> {
    const id = ++this.#pods
    const pod = await this.lab.pod(this.node, name, {
      address: `10.0.${this.#number}.${id}`,
      queues,
      mtu,
    })
    const identity = 300 * this.#number + id
    const { device, address, podMac: mac, hostMac: nodeMac } = pod
    const spec = { id, identity, device, address, mac, nodeMac }
    const port = this.controller.addEndpoint(spec, policy)
    this.#present.add(id)
    return { ...pod, id, identity, port }
  }

  /** As a kubelet does: the device goes, and the endpoint after it. */
  async remove(pod: LivePod): Promise<void> {
    await this.lab.ip(this.node, [`link del ${pod.device}`])
    this.#present.delete(pod.id)
    this.controller.removeEndpoint(pod.id)
  }

  /** Starts the datapath and waits until it has attached every port. */
  async start(): Promise<void> {
    const { pins } = this
    this.datapath = await DatapathProcess.start({
      ...(pins === undefined ? {} : { pinDirectory: pins.path }),
      stateDirectory: this.directory,
      networkNamespace: this.node.netns,
      workers: this.workers,
      // Nobody here measures the first second, and tests that run beside this one need the cores.
      training: false,
    })
    await this.attached()
  }

  /** Resolves when the datapath has every port. */
  async attached(): Promise<void> {
    const ports = [this.maps.node.hostPort, ...this.#podPorts()]
    if (this.#uplinkPort >= 0) ports.push(this.#uplinkPort)
    const deadline = Date.now() + ATTACH_TIMEOUT_MILLISECONDS
    for (const port of ports) {
      while (this.#status(port) !== PortStatus.ATTACHED) {
        if (Date.now() > deadline) throw new Error(this.datapath?.output.join('\n'))
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
  }

  /** Frames dropped for a reason, in any direction. */
  dropped(reason: number): number {
    const lines = readMetrics(this.maps.metrics).filter((line) => line.reason === reason)
    return lines.reduce((sum, line) => sum + line.frames, 0)
  }

  /** What the datapath process says of a port. */
  isAttached(port: number, pid: number): boolean {
    return this.maps.ports.report(port, pid).status === PortStatus.ATTACHED
  }

  /**
   * Resolves when each worker has kept house three times, ten times a second at least: devices have been told
   * what the maps say.
   */
  async settled(): Promise<void> {
    const reader = new HeartbeatReader(this.directory)
    const before = new Map(reader.read().map(({ thread, beats }) => [thread, beats]))
    const isBehind = () =>
      reader.read().some(({ thread, beats }) => beats < (before.get(thread) ?? beats) + 3)
    const deadline = performance.now() + SETTLED_MILLISECONDS_MAX
    while (isBehind()) {
      if (performance.now() > deadline) throw new Error('a worker stands still')
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  /** As the datapath last published them, up to a quarter of a second ago. */
  portStatistics(port: number): PortStatistics {
    return readPortStatistics((cell) => this.maps.portStatistics.sum(cell), port)
  }

  /** Names of the devices of the node that have an XDP program. */
  async devicesWithXdp(): Promise<string[]> {
    const { stdout } = await this.lab.exec(this.node, 'ip', ['-json', 'link', 'show'])
    const links = JSON.parse(stdout) as { ifname: string; xdp?: unknown }[]
    return links.filter((link) => link.xdp !== undefined).map((link) => link.ifname)
  }

  async close(): Promise<void> {
    await this.datapath?.stop()
    if (this.#beside === undefined) await this.lab.close()
    rmSync(this.directory, { recursive: true, force: true })
  }

  #podPorts(): number[] {
    return [...this.#present].map((id) => this.controller.portOf(id))
  }

  #status(port: number): number {
    return this.maps.ports.report(port, this.datapath?.pid ?? 0).status
  }
}
