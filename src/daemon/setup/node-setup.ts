/**
 * Sets the node's own network stack up for its pods and services, keeps it so, and puts everything
 * back. What somebody else has set up already is left to them. Nothing here stops the agent: what
 * could not be done is told, and tried again.
 */
import { getSystemErrorName } from 'node:util'
import type { DeviceRoute } from '../../routing/netlink/changes.js'
import { IPV4_PREFIX_BITS, parseCidr, parseIpv4 } from '../../wire/address.js'
import type { Log } from '../log.js'
import { type Damage, NotWritten } from '../state-file.js'
import { Errno, KernelNetwork, ROUTE_PROTOCOL } from './kernel-network.js'
import type { SetupPlan, WantedRoute } from './setup-plan.js'
import {
  clearRecord,
  emptyRecord,
  ownNamespace,
  readRecord,
  type SetupRecord,
  writeRecord,
} from './setup-record.js'
import { hasSysctl, readSysctl, sysctlName, wantedSysctls, writeSysctl } from './sysctls.js'

const LOOPBACK_INDEX = 1

export interface SetupStatus {
  readonly managed: boolean
  /** The pair was made by the agent. */
  readonly hasPair: boolean
  readonly addresses: readonly string[]
  readonly routes: readonly string[]
  readonly sysctls: readonly { readonly name: string; readonly before: string; set: string }[]
  /** What could not be set up, and is tried again. */
  readonly problems: readonly string[]
}

export const NOT_MANAGED: SetupStatus = {
  managed: false,
  hasPair: false,
  addresses: [],
  routes: [],
  sysctls: [],
  problems: [],
}

export class NodeSetup {
  readonly #stateDirectory: string
  readonly #log: Log
  readonly #network = new KernelNetwork()
  #record: SetupRecord | undefined
  #problems: readonly string[] = []
  /** An earlier record is lost: what it had is told, for nobody else will put it back. */
  readonly #damage: readonly string[]
  #done: string[] = []
  #lastPlan = ''

  constructor(stateDirectory: string, log: Log) {
    this.#stateDirectory = stateDirectory
    this.#log = log
    const { value, damage } = readRecord(stateDirectory)
    this.#record = value
    this.#damage = damage === undefined ? [] : [damageText(damage)]
    for (const problem of this.#damage) log.error({ problem }, 'set-up of an earlier agent unknown')
  }

  get status(): SetupStatus {
    const record = this.#record
    const problems = [...this.#damage, ...this.#problems]
    if (record === undefined) return { ...NOT_MANAGED, problems }
    return {
      managed: true,
      hasPair: record.hasPair,
      addresses: record.addresses,
      routes: record.routes.map(({ cidr }) => cidr),
      sysctls: Object.entries(record.sysctls).map(([path, { before, set }]) => {
        return { name: sysctlName(path), before, set }
      }),
      problems,
    }
  }

  /** Everything of the plan; what is there already costs a few system calls. */
  renew(plan: SetupPlan): void {
    this.#lastPlan = ''
    this.apply(plan)
  }

  /** The same, unless the plan is the one of the last time and was carried out whole. */
  apply(plan: SetupPlan): void {
    const text = JSON.stringify(plan)
    if (text === this.#lastPlan) return
    // A namespace that is not ours any more took what was set up there with it.
    if (this.#record !== undefined && this.#record.namespace !== ownNamespace()) {
      this.#record = undefined
    }
    const before = this.#problems
    const problems: string[] = []
    try {
      this.#carryOut(plan, problems)
    } catch (error) {
      // What cannot be written down is not done, for nobody would put it back.
      if (!(error instanceof NotWritten)) throw error
      problems.push(error.message)
    }
    this.#problems = problems
    if (problems.length === 0) this.#lastPlan = text
    for (const text of problems) {
      if (!before.includes(text)) this.#log.warn({ problem: text }, 'node not set up; trying again')
    }
    if (this.#done.length > 0) this.#log.info({ set: this.#done }, 'node set up')
    this.#done = []
  }

  #carryOut(plan: SetupPlan, problems: string[]): void {
    const { device, peerDevice } = plan
    const other = this.#record !== undefined && this.#record.peerDevice !== peerDevice
    if (other) this.#undo()
    this.#record ??= emptyRecord(device, peerDevice)
    this.#preparePair(plan, problems)
    this.#setAddresses(plan, problems)
    this.#setSysctls(peerDevice, problems)
    this.#setRoutes(plan, problems)
  }

  /** Undoes all that the record has; returns what was done, and what could not be, in words. */
  putBack(): string[] {
    return [...this.#damage, ...this.#undo()]
  }

  #undo(): string[] {
    const record = this.#record
    if (record === undefined) return []
    if (record.namespace !== ownNamespace()) {
      return ['set-up left as it is: it was done in another network namespace; clean up there']
    }
    const done = new PutBack(this.#network, record).run()
    this.#record = undefined
    this.#lastPlan = ''
    clearRecord(this.#stateDirectory, record)
    return done
  }

  close(): void {
    this.#network.close()
  }

  #preparePair({ device, peerDevice }: SetupPlan, problems: string[]): void {
    let links = this.#network.links()
    const found = [device, peerDevice].filter((name) => links.has(name))
    if (found.length === 1) {
      const missing = found[0] === device ? peerDevice : device
      problems.push(`host: ${found[0]} is there, and ${missing} is not: make both, or neither`)
      return
    }
    if (found.length === 0) {
      this.#note((record) => {
        record.hasPair = true
      })
      const errno = this.#network.addVethPair(peerDevice, device)
      if (errno !== Errno.NONE) {
        problems.push(failed(`the pair ${peerDevice} and ${device}`, errno))
        return
      }
      this.#done.push(`pair ${peerDevice} and ${device}`)
      links = this.#network.links()
      for (const name of [peerDevice, device]) quietIpv6(name)
    }
    for (const name of [peerDevice, device]) {
      const link = links.get(name)
      if (link === undefined || link.isUp) continue
      const errno = this.#network.setUp(link.index)
      if (errno === Errno.NONE) this.#done.push(`${name} up`)
      else problems.push(failed(`${name} up`, errno))
    }
  }

  #setAddresses({ addresses, peerDevice }: SetupPlan, problems: string[]): void {
    const index = this.#network.links().get(peerDevice)?.index
    if (index === undefined) return
    const present = new Set(this.#network.addresses().map(({ address }) => address))
    const gone = this.#record?.addresses.filter((address) => !addresses.includes(address)) ?? []
    for (const address of gone) this.#network.deleteAddress(index, parseIpv4(address))
    this.#note((record) => {
      record.addresses = record.addresses.filter((address) => !gone.includes(address))
    })
    for (const address of addresses) {
      const number = parseIpv4(address)
      if (present.has(number)) continue
      this.#note((record) => {
        record.addresses = [...new Set([...record.addresses, address])]
      })
      const errno = this.#network.addAddress(index, number)
      if (errno === Errno.NONE) this.#done.push(`address ${address} on ${peerDevice}`)
      else if (errno !== Errno.EXISTS) problems.push(failed(`address ${address}`, errno))
    }
  }

  #setSysctls(peerDevice: string, problems: string[]): void {
    let wanted: [string, string][] = []
    try {
      wanted = wantedSysctls(peerDevice)
    } catch (error) {
      problems.push(`sysctls: ${(error as Error).message}`)
    }
    for (const [path, value] of wanted) {
      try {
        const before = readSysctl(path)
        if (before === value) continue
        this.#note((record) => {
          record.sysctls[path] = { before: record.sysctls[path]?.before ?? before, set: value }
        })
        writeSysctl(path, value)
        this.#done.push(`${sysctlName(path)} ${before} → ${value}`)
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message
        problems.push(`${sysctlName(path)} = ${value}: ${code}`)
      }
    }
  }

  #setRoutes({ routes, peerDevice }: SetupPlan, problems: string[]): void {
    const link = this.#network.links().get(peerDevice)
    if (link === undefined) return
    const wanted = new Map(routes.map((route) => [keyOf(route), route]))
    const ours = new Set(this.#record?.routes.map(keyOf))
    const gone = this.#record?.routes.filter((route) => !wanted.has(keyOf(route))) ?? []
    for (const route of gone) {
      this.#network.deleteRoute(deviceRoute(route, link.index, link.mtuBytes))
      this.#done.push(`no route to ${route.cidr}`)
    }
    const foreign = new Set<string>()
    this.#note((record) => {
      record.routes = [...wanted.values()]
    })
    for (const [key, route] of wanted) {
      const errno = this.#network.addRoute(deviceRoute(route, link.index, link.mtuBytes))
      if (errno === Errno.NONE) this.#done.push(`route to ${route.cidr} by ${peerDevice}`)
      else if (errno === Errno.EXISTS && ours.has(key)) continue
      else foreign.add(key)
      if (errno === Errno.EXISTS) this.#checkForeign(route, link.index, problems)
      else if (errno !== Errno.NONE) problems.push(failed(`route to ${route.cidr}`, errno))
    }
    this.#note((record) => {
      record.routes = record.routes.filter((route) => !foreign.has(keyOf(route)))
    })
  }

  /** Somebody has such a route already: well, if it leads where ours would. */
  #checkForeign({ cidr }: WantedRoute, index: number, problems: string[]): void {
    const device = this.#network.deviceTo(parseIpv4(cidr.split('/')[0] ?? ''))
    if (device === index || device === LOOPBACK_INDEX) return
    const name = [...this.#network.links().values()].find((link) => link.index === device)?.name
    problems.push(`route to ${cidr}: there is one by ${name ?? 'another device'}; remove it`)
  }

  /** Written down before it is done; NotWritten, and not noted, when that cannot be. */
  #note(change: (record: SetupRecord) => void): void {
    const record = this.#record
    if (record === undefined) return
    const next = structuredClone(record)
    change(next)
    if (JSON.stringify(next) === JSON.stringify(record)) return
    writeRecord(this.#stateDirectory, next)
    this.#record = next
  }
}

/** The other network namespace in which an agent of this directory set something up, if it did. */
export function setUpElsewhere(stateDirectory: string): string | undefined {
  const { value: record } = readRecord(stateDirectory)
  if (record === undefined || record.namespace === ownNamespace()) return undefined
  const { hasPair, addresses, routes, sysctls } = record
  const hasLists = addresses.length + routes.length + Object.keys(sysctls).length > 0
  return hasPair || hasLists ? record.namespace : undefined
}

/** What an agent of this state directory set up, put back by another process. */
export function putNodeBack(stateDirectory: string, log: Log): string[] {
  const setup = new NodeSetup(stateDirectory, log)
  const done = setup.putBack()
  setup.close()
  return done
}

class PutBack {
  readonly #network: KernelNetwork
  readonly #record: SetupRecord
  readonly #done: string[] = []

  constructor(network: KernelNetwork, record: SetupRecord) {
    this.#network = network
    this.#record = record
  }

  run(): string[] {
    const { peerDevice, hasPair, routes, addresses, sysctls } = this.#record
    const link = this.#network.links().get(peerDevice)
    if (link !== undefined) {
      for (const route of routes) {
        const errno = this.#network.deleteRoute(deviceRoute(route, link.index, link.mtuBytes))
        this.#tell(`route to ${route.cidr} removed`, errno)
      }
      for (const address of addresses) {
        const errno = this.#network.deleteAddress(link.index, parseIpv4(address))
        this.#tell(`address ${address} removed`, errno)
      }
    }
    // In reverse: the filter of `all` is back before those of the devices go.
    for (const [path, { before, set }] of Object.entries(sysctls).reverse()) {
      this.#restore(path, before, set)
    }
    if (hasPair && link !== undefined) {
      this.#tell(`pair ${peerDevice} removed`, this.#network.deleteLink(link.index))
    }
    return this.#done
  }

  #tell(text: string, errno: number): void {
    if (errno === Errno.NONE) this.#done.push(text)
  }

  #restore(path: string, before: string, set: string): void {
    if (!hasSysctl(path)) return
    const now = readSysctl(path)
    if (now === before) return
    if (now !== set) {
      this.#done.push(`${sysctlName(path)} left as it is: ${now}, set by somebody else`)
      return
    }
    writeSysctl(path, before)
    this.#done.push(`${sysctlName(path)} ${set} → ${before}`)
  }
}

const keyOf = ({ cidr, source = '', overheadBytes = 0 }: WantedRoute): string =>
  `${cidr} ${source} ${overheadBytes}`

function deviceRoute(route: WantedRoute, linkIndex: number, mtuBytes: number): DeviceRoute {
  const { words, prefixBits } = parseCidr(route.cidr)
  const { source, overheadBytes = 0 } = route
  return {
    destination: words[3] ?? 0,
    prefixLength: prefixBits - IPV4_PREFIX_BITS,
    linkIndex,
    source: source === undefined ? 0 : parseIpv4(source),
    mtuBytes: overheadBytes === 0 ? 0 : mtuBytes - overheadBytes,
  }
}

/** Nothing of IPv6 is forwarded: its router solicitations would only be drops. */
function quietIpv6(device: string): void {
  const path = `net/ipv6/conf/${device}/disable_ipv6`
  if (hasSysctl(path)) writeSysctl(path, '1')
}

function damageText({ path, found }: Damage): string {
  const left = `routes of protocol ${ROUTE_PROTOCOL}, host pair and sysctls may be left as they are`
  return `${path}: ${found}, expected what was set up before: ${left}; see to them, then remove it`
}

function failed(what: string, errno: number): string {
  return `${what}: ${getSystemErrorName(-errno)}`
}
