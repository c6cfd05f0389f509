/**
 * Keeps the node's kernel from giving its own sockets a port that a pod's connection has: whatever
 * TCP and UDP ports the NAT uses are put on `net.ipv4.ip_local_reserved_ports`
 * (Documentation/networking/ip-sysctl.rst), so that connect(2) and bind(2) to port 0 choose others.
 * The kernel goes on honouring what programs ask for by number.
 *
 * What an operator had reserved stays; at most half of the kernel's range is taken, so that the node
 * itself never runs out. A process that was killed leaves its list behind, and the next one finds in
 * the map of ports in use which of them were not the operator's.
 */
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'
import type { ArrayMap } from '../maps/array-map.js'
import { NatRow, PORTS_PER_ROW } from './nat-protocol.js'

const DIRECTORY = '/proc/sys/net/ipv4'
const RESERVED = 'ip_local_reserved_ports'
const RANGE = 'ip_local_port_range'
/** The kernel tells a list by one read or not at all; this is room for every second port. */
const READ_BYTES = 256 * 1024

export class PortReservation {
  readonly #words: Int32Array
  readonly #start: number
  readonly #directory: string
  readonly #buffer = Buffer.alloc(READ_BYTES)
  readonly #operators: ReadonlySet<number>
  #written: string

  /** @param directory another than the kernel's is for tests */
  constructor(portUse: ArrayMap, directory = DIRECTORY) {
    this.#words = portUse.words
    this.#start = portUse.valueStart(0)
    this.#directory = directory
    const found = parsePorts(this.#read(RESERVED))
    const inUse = new Set(this.#portsInUse(0, PORTS_PER_ROW - 1))
    this.#operators = new Set(found.filter((port) => !inUse.has(port)))
    this.#written = formatPorts(found)
  }

  /** Brings the list in step with the ports in use. */
  update(): void {
    const [low = 0, high = 0] = this.#read(RANGE).trim().split(/\s+/).map(Number)
    const room = Math.floor((high - low + 1) / 2)
    const ports = this.#portsInUse(low, high).slice(0, room)
    this.#write(new Set([...this.#operators, ...ports]))
  }

  /** Leaves the operator's list as it was. */
  close(): void {
    this.#write(this.#operators)
  }

  #portsInUse(low: number, high: number): number[] {
    const ports: number[] = []
    const tcp = this.#start + NatRow.TCP * PORTS_PER_ROW
    const udp = this.#start + NatRow.UDP * PORTS_PER_ROW
    for (let port = low; port <= high; port++) {
      if (this.#words[tcp + port] !== 0 || this.#words[udp + port] !== 0) ports.push(port)
    }
    return ports
  }

  #write(ports: ReadonlySet<number>): void {
    const text = formatPorts([...ports].sort((a, b) => a - b))
    if (text === this.#written) return
    this.#written = text
    writeFileSync(`${this.#directory}/${RESERVED}`, `${text}\n`)
  }

  #read(name: string): string {
    const file = openSync(`${this.#directory}/${name}`, 'r')
    try {
      const bytes = readSync(file, this.#buffer, 0, READ_BYTES, null)
      return this.#buffer.toString('latin1', 0, bytes)
    } finally {
      closeSync(file)
    }
  }
}

/** "8080,9000-9003" as numbers. */
function parsePorts(text: string): number[] {
  const ports: number[] = []
  for (const part of text.trim().split(',').filter(Boolean)) {
    const [first = 0, last = first] = part.split('-').map(Number)
    for (let port = first; port <= last; port++) ports.push(port)
  }
  return ports
}

/** Ascending ports as ranges. */
function formatPorts(ports: readonly number[]): string {
  let text = ''
  for (let i = 0; i < ports.length; ) {
    const first = ports[i] as number
    let last = first
    while (ports[++i] === last + 1) last++
    const range = first === last ? `${first}` : `${first}-${last}`
    text = text === '' ? range : `${text},${range}`
  }
  return text
}
