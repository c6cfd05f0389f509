/**
 * Services: each frontend's address, port and protocol is ours, and every packet to an address that
 * nobody has but services, so that its unknown ports are dropped here and not routed by the kernel.
 *
 * The map of services is swept in pieces when it has changed. A slot whose generation is the one
 * seen before costs one load.
 */
import {
  ANY_PROTOCOL,
  Scope,
  SERVICE_KEY_WORDS,
  SERVICE_VALUE_WORDS,
  Service,
  ServiceFlag,
  ServiceKey,
  servicePortWord,
} from '../../lb/service-layout.js'
import type { HashMap } from '../../maps/hash-map.js'
import { NOT_FOUND } from '../../maps/map.js'
import { Revisions } from '../../maps/revision.js'
import type { DatapathMaps } from '../../pipeline/datapath-maps.js'
import { isIpv4Words } from '../../wire/address.js'
import { Protocol } from '../../wire/protocols.js'
import {
  AddressBytes,
  HOST_BITS,
  type SteeringPart,
  type SteeringProgram,
} from './steering-program.js'

/** Of one step. */
const SLOTS_MAX = 1024
const CHANGES_MAX = 64
const PROTOCOLS = [Protocol.TCP, Protocol.UDP, Protocol.SCTP] as const
/** Port word of a slot of which the program was told nothing. */
const NOTHING = -1
/** Port word of the entry that stands for all ports of an address. */
const ALL_PORTS = 0

export class ServiceSteering implements SteeringPart {
  readonly #services: HashMap
  readonly #program: SteeringProgram
  readonly #refused: (reason: string) => void
  readonly #revisions: Revisions
  readonly #bytes = new AddressBytes()
  readonly #key = new Int32Array(SERVICE_KEY_WORDS)
  readonly #value = new Int32Array(SERVICE_VALUE_WORDS)
  /** What the program was told for each slot: its entry's generation, address and port word. */
  readonly #generations: Int32Array
  readonly #addresses: Int32Array
  readonly #portWords: Int32Array
  #next = 0
  #seen: number | undefined
  #changes = 0
  #hasToldRefusal = false

  constructor(maps: DatapathMaps, program: SteeringProgram, refused: (reason: string) => void) {
    const { services } = maps.services
    this.#services = services
    this.#program = program
    this.#refused = refused
    this.#revisions = new Revisions([services])
    this.#generations = new Int32Array(services.slotCount)
    this.#addresses = new Int32Array(services.slotCount)
    this.#portWords = new Int32Array(services.slotCount).fill(NOTHING)
  }

  step(): boolean {
    if (this.#next === 0) {
      const revision = this.#revisions.sum
      if (revision === this.#seen) return true
      this.#seen = revision
    }
    this.#changes = 0
    const end = Math.min(this.#services.slotCount, this.#next + SLOTS_MAX)
    while (this.#next < end && this.#changes < CHANGES_MAX) this.#compare(this.#next++)
    if (this.#next < this.#services.slotCount) return false
    this.#next = 0
    return this.#revisions.sum === this.#seen
  }

  #compare(slot: number): void {
    const generation = this.#services.generation(slot)
    if (generation === this.#generations[slot]) return
    const isLive = this.#services.read(slot, this.#key, this.#value)
    const key = this.#key
    const portWordRead = key[ServiceKey.PORT] as number
    // What is redirected for pods alone is, at an uplink, as it ever was.
    const isForeign = ((this.#value[Service.FLAGS] as number) & ServiceFlag.FOREIGN_ADDRESS) !== 0
    const isWanted = isLive && !isForeign && (portWordRead & 0xff) === Scope.EXTERNAL
    const isIpv4 = isWanted && isIpv4Words(key)
    const portWord = isIpv4 ? portWordRead : NOTHING
    const address4 = isIpv4 ? (key[ServiceKey.ADDRESS + 3] as number) : 0
    const [before, beforeAddress] = [this.#portWords[slot], this.#addresses[slot]]
    this.#generations[slot] = isLive ? generation : 0
    this.#portWords[slot] = portWord
    this.#addresses[slot] = address4
    if (before === portWord && beforeAddress === address4) return
    if (before !== NOTHING) this.#withdraw(beforeAddress as number, before as number)
    if (portWord !== NOTHING) this.#claim(address4, portWord)
  }

  #claim(address4: number, portWord: number): void {
    const program = this.#program
    const bytes = this.#bytes.of(address4)
    this.#changes++
    try {
      if (portWord === ALL_PORTS) program.addPodCidr(bytes, HOST_BITS)
      else {
        for (const protocol of PROTOCOLS) {
          if (isOf(portWord, protocol)) program.addFrontend(bytes, portWord >>> 16, protocol)
        }
      }
    } catch (error) {
      this.#refuse(error)
    }
  }

  /** Unless another entry, in a slot before this one, says the same. */
  #withdraw(address4: number, portWord: number): void {
    const program = this.#program
    this.#changes++
    if (portWord === ALL_PORTS) {
      if (!this.#has(address4, ALL_PORTS)) {
        program.removePodCidr(this.#bytes.of(address4), HOST_BITS)
      }
      return
    }
    const port = portWord >>> 16
    if (this.#has(address4, servicePortWord(port, ANY_PROTOCOL, Scope.EXTERNAL))) return
    for (const protocol of PROTOCOLS) {
      if (!isOf(portWord, protocol)) continue
      if (this.#has(address4, servicePortWord(port, protocol, Scope.EXTERNAL))) continue
      program.removeFrontend(this.#bytes.of(address4), port, protocol)
    }
  }

  #has(address4: number, portWord: number): boolean {
    const key = this.#key
    key[ServiceKey.ADDRESS] = 0
    key[ServiceKey.ADDRESS + 1] = 0
    key[ServiceKey.ADDRESS + 2] = 0xffff
    key[ServiceKey.ADDRESS + 3] = address4
    key[ServiceKey.PORT] = portWord
    return this.#services.lookup(key) !== NOT_FOUND
  }

  /** The program's map is full: the kernel gets that service's packets. */
  #refuse(error: unknown): void {
    if (this.#hasToldRefusal) return
    this.#hasToldRefusal = true
    const reason = error instanceof Error ? error.message : String(error)
    this.#refused(`not all services can be steered: ${reason}`)
  }
}

function isOf(portWord: number, protocol: number): boolean {
  const named = (portWord >>> 8) & 0xff
  return named === protocol || named === ANY_PROTOCOL
}
