/** The addresses of this node's pods: everything to them is ours. */
import { PORTS_MAX } from '../../base/limits.js'
import { Endpoint, type EndpointTable, PortKind } from '../../endpoint/endpoint-table.js'
import { Revisions } from '../../maps/revision.js'
import type { DatapathMaps } from '../../pipeline/datapath-maps.js'
import { isIpv4Words } from '../../wire/address.js'
import {
  AddressBytes,
  HOST_BITS,
  type SteeringPart,
  type SteeringProgram,
} from './steering-program.js'

/** No pod: 0.0.0.0 is no address of one. */
const NONE = 0

export class PodSteering implements SteeringPart {
  readonly #endpoints: EndpointTable
  readonly #program: SteeringProgram
  readonly #revisions: Revisions
  readonly #bytes = new AddressBytes()
  /** Address that the program was told for each row. */
  readonly #told = new Int32Array(PORTS_MAX)
  #seen: number | undefined

  constructor(maps: DatapathMaps, program: SteeringProgram) {
    this.#endpoints = maps.endpoints
    this.#program = program
    this.#revisions = new Revisions([maps.endpoints])
  }

  /** 1024 rows, a system call for each pod that came or went. */
  step(): boolean {
    const revision = this.#revisions.sum
    if (revision === this.#seen) return true
    this.#seen = revision
    const told = this.#told
    // First what goes: an address may come back in another row.
    for (let row = 0; row < PORTS_MAX; row++) {
      const address = told[row] as number
      if (address === NONE || address === this.#addressOf(row)) continue
      this.#program.removePodCidr(this.#bytes.of(address), HOST_BITS)
      told[row] = NONE
    }
    for (let row = 0; row < PORTS_MAX; row++) {
      const address = this.#addressOf(row)
      if (address === told[row]) continue
      this.#program.addPodCidr(this.#bytes.of(address), HOST_BITS)
      told[row] = address
    }
    return true
  }

  #addressOf(row: number): number {
    const endpoints = this.#endpoints
    if (endpoints.kind(row) !== PortKind.POD) return NONE
    const start = endpoints.rowStart(row) + Endpoint.ADDRESS
    return isIpv4Words(endpoints.words, start) ? (endpoints.words[start + 3] as number) : NONE
  }
}
