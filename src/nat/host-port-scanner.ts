/**
 * Learns which ports the node's own sockets use, from /proc/net of this process's network namespace
 * (proc(5)): TCP and UDP of both families, and ping sockets. It stands outside of the packet path, in
 * the datapath's main thread. Not here: raw sockets, whose ports or identifiers nobody can know, and
 * SCTP, which /proc/net shows only with its kernel module.
 */
import { readFile } from 'node:fs/promises'
import { addHostPort, HOST_PORTS_WORDS, type HostPorts } from './host-ports.js'
import { NatRow } from './nat-protocol.js'

const TABLES: readonly (readonly [string, number])[] = [
  ['tcp', NatRow.TCP],
  ['tcp6', NatRow.TCP],
  ['udp', NatRow.UDP],
  ['udp6', NatRow.UDP],
  ['icmp', NatRow.ICMP],
]

/** Local address and port, the second column; the first, `sl`, is a number and a colon. */
const LOCAL_END = /^\s*\d+:\s+([0-9A-F]+):([0-9A-F]{4})\s/gm
/** 127.0.0.0/8, in the machine's order as the kernel prints it, and ::1: no uplink's ports. */
const LOOPBACK = /^(?:[0-9A-F]{6}7F|0{24}01000000)$/

export class HostPortScanner {
  readonly #hostPorts: HostPorts
  readonly #directory: string
  readonly #set = new Int32Array(HOST_PORTS_WORDS)

  /** @param directory another than /proc/net is for tests */
  constructor(hostPorts: HostPorts, directory = '/proc/net') {
    this.#hostPorts = hostPorts
    this.#directory = directory
  }

  /** Reads all tables and stores what they show; a table that is not there is empty. */
  async scan(): Promise<void> {
    this.#set.fill(0)
    for (const [name, row] of TABLES) addPorts(this.#set, row, await this.#read(name))
    this.#hostPorts.replace(this.#set)
  }

  async #read(name: string): Promise<string> {
    try {
      return await readFile(`${this.#directory}/${name}`, 'latin1')
    } catch (error) {
      // A kernel without IPv6 or ping sockets has no such table.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
      throw error
    }
  }
}

function addPorts(set: Int32Array, row: number, table: string): void {
  for (const [, address = '', port = ''] of table.matchAll(LOCAL_END)) {
    if (!LOOPBACK.test(address)) addHostPort(set, row, Number.parseInt(port, 16))
  }
}
