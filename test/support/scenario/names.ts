/**
 * What the words of a scenario stand for: addresses, MACs, identities and numbers by name. Pods,
 * the host and uplinks are known from the node; others a scenario gives itself, or a step binds.
 */
import { Identity } from '../../../src/identity/identity.js'
import type { IdentityRef, NumberOrName } from './types.js'

/** A port as seen from outside: what is at its far end, and the node's end of the link. */
export interface PortNames {
  readonly name: string
  /** Of the far end. */
  readonly mac: string
  /** Of the node's end. */
  readonly nodeMac: string
  readonly address: string
  readonly identity: number
  /** As events name it. */
  readonly endpointId: number
}

const RESERVED: Readonly<Record<string, number>> = {
  host: Identity.HOST,
  world: Identity.WORLD,
  unmanaged: Identity.UNMANAGED,
  health: Identity.HEALTH,
  init: Identity.INIT,
  'remote-node': Identity.REMOTE_NODE,
  'kube-apiserver': Identity.KUBE_APISERVER,
  ingress: Identity.INGRESS,
}

export class Names {
  readonly ports = new Map<string, PortNames>()
  readonly #texts = new Map<string, string>()
  readonly #numbers = new Map<string, number>()

  addPort(port: PortNames): void {
    this.ports.set(port.name, port)
  }

  /** Of the scenario's `names`: an IPv4 address or a MAC. */
  define(name: string, text: string): void {
    this.#texts.set(name, text)
  }

  bindNumber(name: string, value: number): void {
    this.#numbers.set(name, value)
  }

  /** From now on `alias` means the port `name`. */
  bindPort(alias: string, name: string): void {
    this.ports.set(alias, this.port(name))
  }

  port(name: string): PortNames {
    const port = this.ports.get(name)
    if (port === undefined) throw new Error(`'${name}' is no port; known are ${this.#known()}`)
    return port
  }

  address(text: string): string {
    if (/^\d+\.\d+\.\d+\.\d+$/.test(text)) return text
    const found = this.#texts.get(text) ?? this.ports.get(text)?.address
    if (found === undefined) throw new Error(`'${text}' is no address; known are ${this.#known()}`)
    return found
  }

  /** 'client' is the far end of that port, 'client.node' the node's end. */
  mac(text: string): string {
    if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return text
    if (text === 'broadcast') return 'ff:ff:ff:ff:ff:ff'
    const [name = '', end] = text.split('.')
    const port = this.ports.get(name)
    if (port !== undefined) return end === 'node' ? port.nodeMac : port.mac
    const found = this.#texts.get(text)
    if (found === undefined) throw new Error(`'${text}' is no MAC; known are ${this.#known()}`)
    return found
  }

  number(value: NumberOrName): number {
    if (typeof value === 'number') return value
    const found = this.#numbers.get(value)
    if (found === undefined) throw new Error(`no step has found the number '${value}'`)
    return found
  }

  identity(value: IdentityRef): number {
    if (typeof value === 'number') return value
    const found = RESERVED[value] ?? this.ports.get(value)?.identity
    if (found === undefined) throw new Error(`'${value}' is no identity`)
    return found
  }

  #known(): string {
    return [...this.ports.keys(), ...this.#texts.keys()].join(', ')
  }
}
