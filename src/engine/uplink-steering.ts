/**
 * Tells the steering program of each uplink (bpf/xdp_redirect.c) what of its traffic is ours, and
 * keeps that equal to what the maps say; a housekeeping task of the worker, which owns the programs.
 *
 * Ours are: the frontends of services, and with all their ports the addresses that only services
 * have; the addresses of this node's pods; the tunnel port at our addresses; the ports in use of our
 * NAT; ARP for announced addresses; VLANs that are not allowed. Denied sources the program drops
 * itself. Nothing is kept but what each program has been told, so that a new worker, program or control
 * plane comes to the same.
 */
import type { SteeringMode } from 'xdp-socket-napi'
import type { PortUse } from '../nat/port-use.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import type { Housekeeping } from './burst-loop.js'
import type { PortListener } from './port-manager.js'
import { AnnouncedSteering } from './steering/announced-steering.js'
import { DeniedSteering } from './steering/denied-steering.js'
import { OwnAddressSteering } from './steering/own-address-steering.js'
import { PodSteering } from './steering/pod-steering.js'
import { ServiceSteering } from './steering/service-steering.js'
import type { SteeringPart, SteeringProgram } from './steering/steering-program.js'
import { VlanSteering } from './steering/vlan-steering.js'

interface Uplink {
  readonly program: SteeringProgram
  readonly parts: readonly SteeringPart[]
  /** What a process before had told the program is gone, as far as it is not so any more. */
  isSwept: boolean
}

export class UplinkSteering implements Housekeeping, PortListener {
  readonly #maps: DatapathMaps
  readonly #portUse: PortUse
  readonly #programOf: (port: number) => SteeringProgram | null
  readonly #log: (line: string) => void
  readonly #uplinks = new Map<number, Uplink>()
  /** The same, for a loop without an iterator's object. */
  #list: readonly Uplink[] = []
  /** Of the maps, when all uplinks were told what there was; each part looks at maps of its own. */
  #seen: number | undefined
  hasMore = false

  /** @param programOf the program on an attached port, such as `XskExchange.program` */
  constructor(
    maps: DatapathMaps,
    portUse: PortUse,
    programOf: (port: number) => SteeringProgram | null,
    log: (line: string) => void,
  ) {
    this.#maps = maps
    this.#portUse = portUse
    this.#programOf = programOf
    this.#log = log
  }

  attached(port: number, mode: SteeringMode): void {
    const program = mode === 'uplink' ? this.#programOf(port) : null
    if (program === null) return
    const maps = this.#maps
    const refused = (reason: string): void => this.#log(`port ${port}: ${reason}`)
    const parts = [
      new OwnAddressSteering(maps, program),
      new PodSteering(maps, program),
      new ServiceSteering(maps, program, refused),
      new AnnouncedSteering(maps, program, port),
      new DeniedSteering(maps, program, refused),
      new VlanSteering(maps, program),
    ]
    this.#portUse.attach(program.natPorts)
    this.#uplinks.set(port, { program, parts, isSwept: false })
    this.#list = [...this.#uplinks.values()]
    this.#seen = undefined
  }

  detaching(port: number): void {
    const uplink = this.#uplinks.get(port)
    if (uplink === undefined) return
    this.#portUse.detach(uplink.program.natPorts)
    this.#uplinks.delete(port)
    this.#list = [...this.#uplinks.values()]
  }

  step(): void {
    const revision = this.#maps.revisions.sum
    if (revision === this.#seen && !this.hasMore) return
    this.#seen = revision
    this.hasMore = !this.#stepAll()
  }

  /** Works until every program has been told everything. */
  finish(): void {
    while (!this.#stepAll());
  }

  #stepAll(): boolean {
    let isDone = true
    const list = this.#list
    for (let i = 0; i < list.length; i++) {
      const uplink = list[i] as Uplink
      const parts = uplink.parts
      let isToldAll = true
      for (let j = 0; j < parts.length; j++) {
        if (!(parts[j] as SteeringPart).step()) isToldAll = false
      }
      if (!isToldAll) isDone = false
      else if (!uplink.isSwept) {
        uplink.isSwept = true
        uplink.program.sweep()
      }
    }
    return isDone
  }
}
