/**
 * The control plane's hand on one node: it writes endpoints, identities and policies into the
 * node's shared maps and asks the datapath for ports. Each change is validated whole before the
 * first word of it is written.
 *
 * It keeps no state that the maps do not have: a new controller over the same maps takes over
 * (`adopt`).
 */

import { ErrorCode, RingpathError } from '../base/errors.js'
import { PORTS_MAX } from '../base/limits.js'
import { Endpoint, EndpointFlag, type EndpointTable, PortKind } from '../endpoint/endpoint-table.js'
import { HostFirewallMode, type NodeSettings } from '../endpoint/node-settings.js'
import { IDENTITY_MAX } from '../identity/identity.js'
import { type Ipcache, NO_ENDPOINT } from '../identity/ipcache.js'
import { LoopbackMode, NoBackendResponse, ServiceSettings } from '../lb/service-settings.js'
import type { ServiceSpec } from '../lb/service-spec.js'
import { ServiceWriter } from '../lb/service-writer.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { NO_POLICY } from '../policy/policy-map.js'
import type { EndpointPolicy } from '../policy/policy-rule.js'
import { PolicyWriter } from '../policy/policy-writer.js'
import { PortMode, type PortTable } from '../port/port-table.js'
import { parseAddress, parseIpv4, parseMac } from '../wire/address.js'
import { type BandwidthSpec, kilobitsOf } from './bandwidth-spec.js'
import { EgressWriter } from './egress-writer.js'
import { type MasqueradeOptions, MasqueradeWriter } from './masquerade-writer.js'
import { NetdevWriter } from './netdev-writer.js'
import { NodeAddresses } from './node-addresses.js'
import { type NodeBehaviour, setNodeBehaviour } from './node-behaviour.js'
import {
  checkDevice,
  checkRange,
  HOST_ENDPOINT_ID,
  HOST_PREFIX_LENGTH,
  invalid,
  ipcacheFull,
  OPEN,
} from './node-checks.js'
import { NodeDevices } from './node-devices.js'
import type {
  EndpointSpec,
  HostSpec,
  NodeOptions,
  ServiceOptions,
  UplinkSpec,
} from './node-spec.js'
import { type PeerSpec, RemoteNodes, type RemoteSpec, type TunnelOptions } from './remote-nodes.js'

export type { EndpointSpec, HostSpec, NodeOptions, ServiceOptions, UplinkSpec }
export { HOST_ENDPOINT_ID }

/** A worker looks at its ports ten times a second; it may be without a processor for a while. */
const REST_MILLISECONDS = 2_000

export class NodeController {
  readonly #endpoints: EndpointTable
  readonly #ipcache: Ipcache
  readonly #ports: PortTable
  readonly #policies: PolicyWriter
  readonly #node: NodeSettings
  readonly #services: ServiceWriter
  readonly #serviceSettings: ServiceSettings
  readonly #remotes: RemoteNodes
  readonly #masquerade: MasqueradeWriter
  readonly #portOfEndpoint = new Map<number, number>()
  /** Of ports of pods that went: `performance.now()` from which on any device may have them. */
  readonly #restsUntil = new Map<number, number>()
  /** What holds at the uplinks: announced addresses, denied sources, VLANs. */
  readonly netdev: NetdevWriter
  /** Which pods' traffic leaves by which node, from which address. */
  readonly egress: EgressWriter
  /** Its host pair and its uplinks. */
  readonly devices: NodeDevices

  constructor(maps: DatapathMaps, options: NodeOptions = {}) {
    this.#endpoints = maps.endpoints
    this.#ipcache = maps.ipcache
    this.#ports = maps.ports
    this.#node = maps.node
    this.#remotes = new RemoteNodes(maps)
    this.#masquerade = new MasqueradeWriter(maps.nat)
    this.netdev = new NetdevWriter(maps)
    this.egress = new EgressWriter(maps)
    this.#serviceSettings = new ServiceSettings(maps.services.settings)
    const addresses = new NodeAddresses(maps)
    this.#services = new ServiceWriter(maps.services, {
      ...options,
      node: {
        isLocalAddress: (address) => {
          this.#ipcache.find(address, 0)
          return this.#ipcache.endpoint !== NO_ENDPOINT
        },
        addresses: () => addresses.all,
      },
    })
    const policiesInUse: number[] = []
    for (let port = 0; port < PORTS_MAX; port++) {
      const kind = this.#endpoints.kind(port)
      if (kind === PortKind.NONE || kind === PortKind.UPLINK) continue
      const row = this.#endpoints.rowStart(port)
      this.#portOfEndpoint.set(this.#endpoints.words[row + Endpoint.ID] as number, port)
      policiesInUse.push(this.#endpoints.words[row + Endpoint.POLICY] as number)
    }
    this.#policies = new PolicyWriter(maps.policyEntries, maps.policyPrefixes, policiesInUse)
    this.devices = new NodeDevices({
      maps,
      policies: this.#policies,
      services: this.#services,
      addresses,
      portOfEndpoint: this.#portOfEndpoint,
      freePort: () => this.#freePort(),
    })
  }

  /** Adds the node's own way out. There is one; returns its port. */
  addHost(spec: HostSpec): number {
    return this.devices.addHost(spec)
  }

  /** Adds a way to the outside; returns its port. */
  addUplink(spec: UplinkSpec): number {
    return this.devices.addUplink(spec)
  }

  /** Adds a pod, closed or open as its policy says from its first packet on; returns its port. */
  addEndpoint(spec: EndpointSpec, policy: EndpointPolicy = OPEN): number {
    checkRange('endpoint.id', spec.id, 1, HOST_ENDPOINT_ID - 1)
    checkRange('endpoint.identity', spec.identity, 1, IDENTITY_MAX)
    const device = checkDevice('endpoint.device', spec.device)
    const address = parseAddress(spec.address)
    const mac = parseMac(spec.mac)
    const nodeMac = parseMac(spec.nodeMac)
    this.#checkFree(spec.id)
    const port = this.#freePort(device)
    this.#ipcache.find(address, 0)
    if (this.#ipcache.endpoint !== NO_ENDPOINT) {
      throw invalid('endpoint.address', spec.address, 'an address that no endpoint has')
    }
    const revision = this.#policies.add(policy)
    this.#addAddress(address, port, spec.identity)
    const { id, identity } = spec
    const flags = spec.masquerade === false ? EndpointFlag.SKIP_MASQUERADE_V4 : 0
    const row = { kind: PortKind.POD, id, identity, policy: revision, address, mac, nodeMac }
    this.#endpoints.set(port, { ...row, flags })
    this.#portOfEndpoint.set(spec.id, port)
    this.#ports.request(port, device, PortMode.POD)
    return port
  }

  removeEndpoint(id: number): void {
    const port = this.portOf(id)
    const address = this.#addressOf(port)
    this.#ports.release(port)
    this.#ipcache.delete(address, HOST_PREFIX_LENGTH)
    this.#endpoints.clear(port)
    this.#policies.delete(this.#endpoints.swapPolicy(port, NO_POLICY))
    this.#portOfEndpoint.delete(id)
    this.#restsUntil.set(port, performance.now() + REST_MILLISECONDS)
  }

  /** Swaps an endpoint's policy whole, between two packets. */
  setPolicy(id: number, policy: EndpointPolicy): void {
    this.setPolicies(new Map([[id, policy]]))
  }

  /**
   * The same for several endpoints, by their numbers. Either all get theirs, one right after the
   * other, or, with EMAP_FULL, none: for a moment old and new policies need room at once.
   */
  setPolicies(policies: ReadonlyMap<number, EndpointPolicy>): void {
    const revisions: [port: number, revision: number][] = []
    try {
      for (const [id, policy] of policies) {
        revisions.push([this.portOf(id), this.#policies.add(policy)])
      }
    } catch (error) {
      for (const [, revision] of revisions) this.#policies.delete(revision)
      throw error
    }
    const before = revisions.map(([port, revision]) => this.#endpoints.swapPolicy(port, revision))
    for (const revision of before) this.#policies.delete(revision)
  }

  /** Gives an endpoint another identity and the policy that goes with it. */
  setEndpointIdentity(id: number, identity: number, policy: EndpointPolicy): void {
    checkRange('endpoint.identity', identity, 1, IDENTITY_MAX)
    const port = this.portOf(id)
    this.setPolicy(id, policy)
    this.#addAddress(this.#addressOf(port), port, identity)
    this.#endpoints.setIdentity(port, identity)
  }

  /**
   * Asks the host endpoint's policy for what the node's own stack sends and gets; off at first.
   * With `uplinks` also for what begins at an uplink, which without it the kernel gets as it comes:
   * a login to the node depends on the policy then.
   */
  setHostFirewall(isOn: boolean, uplinks = false): void {
    const { OFF, ON, UPLINKS } = HostFirewallMode
    this.#node.hostFirewall = isOn ? (uplinks ? UPLINKS : ON) : OFF
  }

  /** Limits what an endpoint sends and gets; ECONFIG_INVALID with nothing changed. */
  setBandwidth(id: number, spec: BandwidthSpec): void {
    const egress = kilobitsOf('egressBitsPerSecond', spec.egressBitsPerSecond)
    const ingress = kilobitsOf('ingressBitsPerSecond', spec.ingressBitsPerSecond)
    this.#endpoints.setRates(this.portOf(id), egress, ingress)
  }

  /**
   * Lets pass, counts and tells what policy would drop: of one endpoint, or, without a number, of
   * all.
   */
  setPolicyAudit(isOn: boolean, id?: number): void {
    if (id === undefined) this.#node.isPolicyAudit = isOn
    else this.#endpoints.setFlag(this.portOf(id), EndpointFlag.POLICY_AUDIT, isOn)
  }

  /** Gives an address or prefix ("10.1.0.0/16" as words and length) an identity. */
  setIdentity(address: Int32Array, prefixLength: number, identity: number): void {
    checkRange('identity', identity, 1, IDENTITY_MAX)
    if (!this.#ipcache.set(address, prefixLength, identity)) throw ipcacheFull()
  }

  /**
   * Adds a service, or makes the one of that name so, without disturbing running flows; ECONFIG_INVALID or EMAP_FULL when it
   * cannot be, with nothing changed.
   */
  setService(spec: ServiceSpec): void {
    this.#services.set(spec)
  }

  /** False when there is no service of that name. */
  deleteService(name: string): boolean {
    return this.#services.delete(name)
  }

  /**
   * After a restart, when every service has been set again: deletes those that only an earlier controller knew; returns how many
   * frontends went.
   */
  deleteUnclaimedServices(): number {
    return this.#services.deleteUnclaimed()
  }

  /** What is not given stays as it is. */
  setServiceOptions(options: ServiceOptions): void {
    const { loopback, noBackendResponse, externalClusterIp } = options
    const address = loopback === undefined || loopback === 'pod' ? 0 : parseIpv4(loopback)
    if (loopback !== undefined) {
      this.#serviceSettings.loopbackAddress = address
      this.#serviceSettings.loopbackMode =
        loopback === 'pod' ? LoopbackMode.POD : LoopbackMode.ADDRESS
    }
    if (externalClusterIp !== undefined) this.#serviceSettings.externalClusterIp = externalClusterIp
    if (noBackendResponse !== undefined) {
      const isDrop = noBackendResponse === 'drop'
      this.#serviceSettings.noBackendResponse = isDrop
        ? NoBackendResponse.DROP
        : NoBackendResponse.REJECT
    }
  }

  /** Says what the node's NAT does; nothing at first. ECONFIG_INVALID or EMAP_FULL, nothing changed. */
  setMasquerade(options: MasqueradeOptions): void {
    this.#masquerade.set(options)
  }

  /** What is not given stays as it is; ECONFIG_INVALID with nothing changed. */
  setNodeOptions(options: NodeBehaviour): void {
    setNodeBehaviour(this.#node, options)
  }

  /** How pods of other nodes are reached; at first by plain routing. */
  setTunnel(options: TunnelOptions): void {
    this.#remotes.setTunnel(options)
  }

  /** Tells which node has a prefix, and whose it is; ECONFIG_INVALID or EMAP_FULL. */
  setRemote(spec: RemoteSpec): void {
    this.#remotes.set(spec)
  }

  /** False when there was no such prefix. */
  deleteRemote(prefix: string): boolean {
    return this.#remotes.delete(prefix)
  }

  /** Makes another node known, or changes it, whole; ECONFIG_INVALID or EMAP_FULL. */
  addPeer(spec: PeerSpec): void {
    this.#remotes.addPeer(spec)
  }

  /** False when no node of that name was added by this controller. */
  removePeer(name: string): boolean {
    return this.#remotes.removePeer(name)
  }

  portOf(id: number): number {
    const port = this.#portOfEndpoint.get(id)
    if (port === undefined) throw invalid('endpoint.id', String(id), 'an endpoint of this node')
    return port
  }

  #addAddress(address: Int32Array, port: number, identity: number): void {
    if (!this.#ipcache.set(address, HOST_PREFIX_LENGTH, identity, port)) throw ipcacheFull()
  }

  #addressOf(port: number): Int32Array {
    const start = this.#endpoints.rowStart(port) + Endpoint.ADDRESS
    return this.#endpoints.words.slice(start, start + 4)
  }

  #checkFree(id: number): void {
    if (!this.#portOfEndpoint.has(id)) return
    throw invalid('endpoint.id', String(id), 'a number that no endpoint has')
  }

  /**
   * The port of a pod that went rests, unless there is no other: until the datapath has let go of its device,
   * what is sent by the port gets there. The same device may have it at once.
   */
  #freePort(device = ''): number {
    const now = performance.now()
    let resting: number | undefined
    for (let port = 0; port < PORTS_MAX; port++) {
      if (this.#endpoints.kind(port) !== PortKind.NONE || this.devices.isResting(port)) continue
      const isResting = now < (this.#restsUntil.get(port) ?? 0)
      if (!isResting || this.#ports.device(port) === device) return port
      resting ??= port
    }
    if (resting !== undefined) return resting
    throw new RingpathError(ErrorCode.PORT_LIMIT, `all ${PORTS_MAX} ports are in use`)
  }
}
