/**
 * Carries changes out on a node's controllers: the one place where objects of the desired state
 * meet the calls that write maps.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { ServiceSpec } from '../lb/service-spec.js'
import type { Labels } from '../policy-rules/labels.js'
import type { RuleSpec } from '../policy-rules/rule-spec.js'
import { Protocol } from '../wire/protocols.js'
import type { BandwidthSpec } from './bandwidth-spec.js'
import type { EgressRule } from './egress-writer.js'
import type { MasqueradeOptions } from './masquerade-writer.js'
import type { NodeBehaviour } from './node-behaviour.js'
import type { HostSpec, NodeController, ServiceOptions, UplinkSpec } from './node-controller.js'
import type { LabelledEndpoint, PolicyController } from './policy-controller.js'
import type { Change, NodeObject, ObjectKind, Target } from './reconcile.js'
import type { PeerSpec, TunnelOptions } from './remote-nodes.js'

const PORT_PROTOCOLS = { TCP: Protocol.TCP, UDP: Protocol.UDP, SCTP: Protocol.SCTP } as const

/** The spec of an Endpoint object. */
interface EndpointObject extends Omit<LabelledEndpoint, 'namedPorts'> {
  readonly bandwidth?: BandwidthSpec
  readonly ports: readonly {
    readonly name: string
    readonly port: number
    readonly protocol: keyof typeof PORT_PROTOCOLS
  }[]
}

interface PeerEndpoint {
  readonly address: string
  readonly identity: number
  readonly labels: Labels
}

/** Fields of an endpoint that change in place; others mean another port. */
const CHANGEABLE = ['labels', 'ports', 'bandwidth', 'identity']

export class ControllerTarget implements Target {
  readonly #controller: NodeController
  readonly #policies: PolicyController
  /** Identities that peers' endpoints have been learned with, by the peer's name. */
  readonly #learned = new Map<string, readonly number[]>()

  constructor(controller: NodeController, policies: PolicyController) {
    this.#controller = controller
    this.#policies = policies
  }

  apply(change: Change): void {
    const carry: Readonly<Record<ObjectKind, (change: Change) => void>> = {
      Settings: (c) => this.#settings(c),
      Host: (c) => this.#host(c),
      Uplink: (c) => this.#uplink(c),
      Announcement: (c) => this.#announcement(c),
      Rule: (c) => this.applyRules([c]),
      Endpoint: (c) => this.#endpoint(c),
      Peer: (c) => this.#peer(c),
      Service: (c) => this.#service(c),
      EgressGateway: ({ after }) => {
        this.#controller.egress.set((after?.spec.rules ?? []) as EgressRule[])
      },
    }
    carry[change.kind](change)
  }

  applyRules(changes: readonly Change[]): void {
    this.#policies.changeRules({
      set: changes.flatMap(({ after }) =>
        after === undefined ? [] : [after.spec.rule as RuleSpec],
      ),
      delete: changes.flatMap(({ after, name }) => (after === undefined ? [name] : [])),
    })
  }

  /**
   * What an earlier agent applied is told to new controllers, which changes nothing in the maps:
   * identities first, so that no policy is without one for a moment.
   *
   * @returns objects that could not be told, with the reason
   */
  adopt(objects: readonly NodeObject[]): { object: NodeObject; message: string }[] {
    const failed: { object: NodeObject; message: string }[] = []
    const endpoints = objects.filter(({ kind }) => kind === 'Endpoint')
    const { identities } = this.#policies
    const held = endpoints.map(({ spec }) => {
      const labels = spec.labels as Labels
      if (typeof spec.identity !== 'number') return identities.claim(labels)
      identities.learn(spec.identity, labels)
      return spec.identity
    })
    const tell = (object: NodeObject, act: () => void): void => {
      try {
        act()
      } catch (error) {
        failed.push({ object, message: (error as Error).message })
      }
    }
    for (const object of objects) {
      if (object.kind === 'Endpoint' || object.kind === 'Host' || object.kind === 'Uplink') continue
      const { kind, name } = object
      tell(object, () => this.apply({ action: 'create', kind, name, after: object, fields: [] }))
    }
    for (const object of objects) {
      if (object.kind === 'Host') tell(object, () => this.#adoptHost(object))
    }
    for (const object of endpoints) {
      const { id, labels, namedPorts, identity } = labelled(object)
      tell(object, () => this.#policies.setEndpointLabels(id, labels, namedPorts, identity))
    }
    for (const number of held) this.#policies.forgetIdentity(number)
    return failed
  }

  /** Its policy is made anew from the rules, which are there by then. */
  #adoptHost(object: NodeObject): void {
    this.#controller.devices.adoptHost(object.spec as unknown as HostSpec)
    this.#policies.setHostLabels((object.spec.labels ?? {}) as Labels)
  }

  #settings({ after }: Change): void {
    if (after === undefined) return
    const { services, tunnel, behaviour, policyAudit, masquerade } = after.spec
    const { hostFirewall, guardUplinks } = after.spec
    this.#controller.setServiceOptions(services as ServiceOptions)
    this.#controller.setTunnel(tunnel as TunnelOptions)
    this.#controller.setNodeOptions(behaviour as NodeBehaviour)
    this.#controller.setPolicyAudit(policyAudit as boolean)
    this.#controller.setHostFirewall(hostFirewall as boolean, guardUplinks as boolean)
    this.#controller.setMasquerade(masquerade as MasqueradeOptions)
    this.#controller.netdev.setDeniedSources(after.spec.deniedSources as string[])
    this.#controller.netdev.setAllowedVlans(after.spec.allowedVlans as number[])
  }

  #host({ after }: Change): void {
    const { devices } = this.#controller
    if (after === undefined) {
      this.#policies.removeHost()
      devices.removeHost()
      return
    }
    devices.setHost(complete<HostSpec>(after, ['mac', 'nodeMac']))
    this.#policies.setHostLabels((after.spec.labels ?? {}) as Labels)
  }

  #uplink({ after, name }: Change): void {
    const { devices } = this.#controller
    if (after === undefined) devices.removeUplink(name)
    else devices.setUplink(complete<UplinkSpec>(after, ['mac']))
  }

  #announcement({ after, name }: Change): void {
    const { netdev } = this.#controller
    if (after === undefined) netdev.withdraw(name)
    else netdev.announce(name, after.spec.devices as string[] | undefined)
  }

  #endpoint({ before, after, fields }: Change): void {
    // Checked before the old one goes.
    const next = after === undefined ? undefined : labelled(after)
    if (before !== undefined && next !== undefined && isInPlace(fields)) {
      const { id, labels, namedPorts, identity } = next
      this.#policies.setEndpointLabels(id, labels, namedPorts, identity)
    } else {
      if (before !== undefined) this.#policies.removeEndpoint(before.spec.id as number)
      if (next !== undefined) this.#policies.addEndpoint(next)
    }
    if (next !== undefined) {
      this.#controller.setBandwidth(next.id, (after?.spec.bandwidth ?? {}) as BandwidthSpec)
    }
  }

  #peer({ before, after, name }: Change): void {
    const old = (before?.spec.endpoints ?? []) as readonly PeerEndpoint[]
    const next = (after?.spec.endpoints ?? []) as readonly PeerEndpoint[]
    const oldIdentities = this.#learned.get(name) ?? []
    const learned: number[] = []
    if (after !== undefined) {
      const peer = after.spec.peer as PeerSpec
      this.#controller.addPeer(peer)
      for (const { address, identity, labels } of next) {
        this.#policies.learnIdentity(identity, labels)
        learned.push(identity)
        const { skipTunnel = false, address: tunnelEndpoint } = peer
        this.#controller.setRemote({ prefix: address, identity, tunnelEndpoint, skipTunnel })
      }
    }
    const kept = new Set(next.map(({ address }) => address))
    for (const { address } of old) if (!kept.has(address)) this.#controller.deleteRemote(address)
    if (after === undefined) this.#controller.removePeer(name)
    this.#learned.set(name, learned)
    for (const identity of oldIdentities) this.#policies.forgetIdentity(identity)
  }

  #service({ after, name }: Change): void {
    if (after === undefined) this.#controller.deleteService(name)
    else this.#controller.setService(after.spec.service as ServiceSpec)
  }
}

const isInPlace = (fields: readonly string[]): boolean =>
  fields.every((field) => CHANGEABLE.includes(field))

function labelled(object: NodeObject): LabelledEndpoint {
  const { ports, bandwidth: _, ...place } = complete<EndpointObject>(object, ['nodeMac'])
  const namedPorts = Object.fromEntries(
    ports.map(({ name, port, protocol }) => [name, { protocol: PORT_PROTOCOLS[protocol], port }]),
  )
  return { ...place, namedPorts }
}

/** The object's spec, once what its devices tell is there. */
function complete<T>(object: NodeObject, fields: readonly string[]): T {
  for (const field of fields) {
    if (object.spec[field] !== undefined) continue
    const text = `${object.kind} ${object.name}: no ${field}: its device is not there yet`
    throw new RingpathError(ErrorCode.PORT_ATTACH, text)
  }
  return object.spec as T
}
