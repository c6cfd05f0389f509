/**
 * A node on real AF_XDP: namespaces, veths and a datapath process, put together as an agent would.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatapathProcess } from '../../src/daemon/datapath-process.js'
import { NodeController } from '../../src/daemon/node-controller.js'
import { Lab, type Namespace, type Pod } from '../../src/lab/lab.js'
import { readMetrics } from '../../src/monitor/metrics.js'
import { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { PortStatus } from '../../src/port/port-table.js'

export const NODE_ADDRESS = '10.0.0.1'
/** The node's uplink; the far end is the gateway, which has an address of its own behind it. */
export const UPLINK_ADDRESS = '192.0.2.2'
export const GATEWAY_ADDRESS = '192.0.2.1'
export const OUTSIDE_ADDRESS = '198.51.100.1'
const UPLINK_DEVICE = 'uplink0'
const POD_CIDR = '10.0.1.0/24'
const ATTACH_TIMEOUT_MILLISECONDS = 10_000

export interface LivePod extends Pod {
  readonly id: number
  readonly identity: number
  readonly port: number
}

export interface LiveNodeOptions {
  /** With an uplink to a namespace `outside`, which is also the node's default gateway. */
  readonly hasUplink?: boolean
}

export class LiveNode {
  readonly lab: Lab
  readonly node: Namespace
  readonly directory: string
  readonly maps: DatapathMaps
  readonly controller: NodeController
  datapath: DatapathProcess | undefined
  #pods = 0
  #outside: Namespace | undefined
  #uplinkPort = -1

  private constructor(lab: Lab, node: Namespace, directory: string) {
    this.lab = lab
    this.node = node
    this.directory = directory
    this.maps = DatapathMaps.createFiles(directory)
    this.controller = new NodeController(this.maps)
  }

  static async create(name: string, options: LiveNodeOptions = {}): Promise<LiveNode> {
    const lab = await Lab.create({ name })
    const node = await lab.namespace('node')
    const directory = mkdtempSync(join(tmpdir(), 'rp-state-'))
    const live = new LiveNode(lab, node, directory)
    const pair = await lab.hostPair(node, { address: NODE_ADDRESS, podCidr: POD_CIDR })
    live.controller.addHost({
      device: pair.netDevice,
      addresses: [NODE_ADDRESS],
      mac: pair.hostMac,
      nodeMac: pair.netMac,
    })
    if (options.hasUplink === true) await live.#addUplink()
    return live
  }

  get hasUplink(): boolean {
    return this.#outside !== undefined
  }

  /** The namespace behind the uplink. */
  get outside(): Namespace {
    if (this.#outside === undefined) throw new Error('this node has no uplink')
    return this.#outside
  }

  async #addUplink(): Promise<void> {
    const outside = await this.lab.namespace('outside')
    this.#outside = outside
    const link = await this.lab.link({
      a: { ns: this.node, device: UPLINK_DEVICE, address: `${UPLINK_ADDRESS}/24` },
      b: { ns: outside, device: 'eth0', address: `${GATEWAY_ADDRESS}/24` },
    })
    await this.lab.ip(outside, [`address add ${OUTSIDE_ADDRESS}/32 dev lo`])
    await this.lab.ip(this.node, [`route add default via ${GATEWAY_ADDRESS}`])
    this.#uplinkPort = this.controller.addUplink({
      device: UPLINK_DEVICE,
      address: UPLINK_ADDRESS,
      mac: link.a.mac,
    })
  }

  /** Pods are 10.0.1.1 with identity 301, and so on. */
  async pod(name: string, policy?: EndpointPolicy): Promise<LivePod> {
    const id = ++this.#pods
    const pod = await this.lab.pod(this.node, name, { address: `10.0.1.${id}` })
    const identity = 300 + id
    const { device, address, podMac: mac, hostMac: nodeMac } = pod
    const spec = { id, identity, device, address, mac, nodeMac }
    const port = this.controller.addEndpoint(spec, policy)
    return { ...pod, id, identity, port }
  }

  /** Starts the datapath and waits until it has attached every port. */
  async start(): Promise<void> {
    this.datapath = await DatapathProcess.start({
      stateDirectory: this.directory,
      networkNamespace: this.node.netns,
    })
    const ports = [this.maps.node.hostPort, ...this.#podPorts()]
    if (this.#uplinkPort >= 0) ports.push(this.#uplinkPort)
    const deadline = Date.now() + ATTACH_TIMEOUT_MILLISECONDS
    for (const port of ports) {
      while (this.#status(port) !== PortStatus.ATTACHED) {
        if (Date.now() > deadline) throw new Error(this.datapath.output.join('\n'))
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
  }

  /** Frames dropped for a reason, in any direction. */
  dropped(reason: number): number {
    const lines = readMetrics(this.maps.metrics).filter((line) => line.reason === reason)
    return lines.reduce((sum, line) => sum + line.frames, 0)
  }

  /** Names of the devices of the node that have an XDP program. */
  async devicesWithXdp(): Promise<string[]> {
    const { stdout } = await this.lab.exec(this.node, 'ip', ['-json', 'link', 'show'])
    const links = JSON.parse(stdout) as { ifname: string; xdp?: unknown }[]
    return links.filter((link) => link.xdp !== undefined).map((link) => link.ifname)
  }

  async close(): Promise<void> {
    await this.datapath?.stop()
    await this.lab.close()
    rmSync(this.directory, { recursive: true, force: true })
  }

  #podPorts(): number[] {
    return Array.from({ length: this.#pods }, (_, i) => this.controller.portOf(i + 1))
  }

  #status(port: number): number {
    return this.maps.ports.report(port, this.datapath?.pid ?? 0).status
  }
}
