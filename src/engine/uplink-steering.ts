/**
 * Tells the steering programs of uplinks (bpf/xdp_redirect.c) what of their traffic is ours: frames
 * to a port that our NAT has in use. Everything else is the kernel's, unless somebody else claims it.
 */
import type { XdpProgram } from 'xdp-socket-napi'
import { PORTS_MAX } from '../base/limits.js'
import { Endpoint, type EndpointTable, PortKind } from '../endpoint/endpoint-table.js'
import type { PortUse } from '../nat/port-use.js'

/** Where the programs of attached ports are found; XskExchange is one. */
export interface Programs {
  /** Null when the port is not attached. */
  program(port: number): XdpProgram | null
}

export class UplinkSteering {
  readonly #programs: Programs
  readonly #endpoints: EndpointTable
  readonly #portUse: PortUse

  constructor(programs: Programs, endpoints: EndpointTable, portUse: PortUse) {
    this.#programs = programs
    this.#endpoints = endpoints
    this.#portUse = portUse
  }

  /** After a port was attached. Any uplink may get frames to the address of any other. */
  attached(port: number): void {
    const program = this.#programOf(port)
    if (program === null) return
    for (let other = 0; other < PORTS_MAX; other++) {
      if (this.#endpoints.kind(other) !== PortKind.UPLINK) continue
      program.addNatAddress(this.#addressOf(other))
      this.#programOf(other)?.addNatAddress(this.#addressOf(port))
    }
    this.#portUse.attach(program.natPorts)
  }

  /** Before the port is detached. */
  detaching(port: number): void {
    const program = this.#programOf(port)
    if (program !== null) this.#portUse.detach(program.natPorts)
  }

  #programOf(port: number): XdpProgram | null {
    const isUplink = this.#endpoints.kind(port) === PortKind.UPLINK
    return isUplink ? this.#programs.program(port) : null
  }

  /** Sixteen bytes in network order. */
  #addressOf(port: number): Uint8Array {
    const start = this.#endpoints.rowStart(port) + Endpoint.ADDRESS
    const bytes = new DataView(new ArrayBuffer(16))
    for (let i = 0; i < 4; i++) bytes.setInt32(4 * i, this.#endpoints.words[start + i] as number)
    return new Uint8Array(bytes.buffer)
  }
}
