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

/** What tells cheaply that there are other sockets now: numbers in use, and connections ever begun. */
const SIGNS: readonly (readonly [string, RegExp])[] = [
  ['sockstat', /^(?:TCP|UDP): inuse \d+/gm],
  ['sockstat6', /^(?:TCP6|UDP6): inuse \d+/gm],
  // RtoAlgorithm, RtoMin, RtoMax, MaxConn; ActiveOpens, PassiveOpens.
  ['snmp', /^Tcp: (?:-?\d+ ){6}/gm],
]
/** One TCP table alone costs the kernel a walk over all its hash buckets, a millisecond and more. */
const LOOKS_PER_SCAN = 8

/** Local address and port, the second column; the first, `sl`, is a number and a colon. */
const LOCAL_END = /^\s*\d+:\s+([0-9A-F]+):([0-9A-F]{4})\s/gm
/** 127.0.0.0/8, in the machine's order as the kernel prints it, and ::1: no uplink's ports. */
const LOOPBACK = /^(?:[0-9A-F]{6}7F|0{24}01000000)$/

export class HostPortScanner {
  readonly #hostPorts: HostPorts
  readonly #directory: string
  readonly #set = new Int32Array(HOST_PORTS_WORDS)
  #signs = ''
  #looksLeft = 0

  /** @param directory another than /proc/net is for tests */
  constructor(hostPorts: HostPorts, directory = '/proc/net') {
    this.#hostPorts = hostPorts
    this.#directory = directory
  }

  /**
   * Scans if there seem to be other sockets than at the last look, and every eighth time in any case:
   * a socket that took the place of another one in between, without a connection, is seen then.
   */
  async look(): Promise<void> {
    const signs = await this.#readSigns()
    if (signs !== '' && signs === this.#signs && --this.#looksLeft > 0) return
    this.#signs = signs
    this.#looksLeft = LOOKS_PER_SCAN
    await this.scan()
  }

  async #readSigns(): Promise<string> {
    const signs: string[] = []
    for (const [name, sign] of SIGNS) signs.push(...((await this.#read(name)).match(sign) ?? []))
    return signs.join()
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
