/** What steering needs of the program on an uplink; `XdpProgram` of xdp-socket-napi is one. */

export interface SteeringProgram {
  /** @param address 16 bytes in network order, IPv4 as ::ffff:a.b.c.d; null: any */
  addFrontend(address: Uint8Array | null, port: number, protocol: number): void
  removeFrontend(address: Uint8Array | null, port: number, protocol: number): void
  /** @param prefixBits of the 128 */
  addPodCidr(address: Uint8Array, prefixBits: number): void
  removePodCidr(address: Uint8Array, prefixBits: number): void
  addNatAddress(address: Uint8Array): void
  removeNatAddress(address: Uint8Array): void
  /** What begins something at an address of the node is ours. */
  addGuarded(address: Uint8Array): void
  removeGuarded(address: Uint8Array): void
  addAnnounced(address: Uint8Array): void
  removeAnnounced(address: Uint8Array): void
  /** @param prefixBits of the 128 */
  addDenied(address: Uint8Array, prefixBits: number): void
  removeDenied(address: Uint8Array, prefixBits: number): void
  setVlanFilter(isOn: boolean): void
  /** @param id 1 to 4094 */
  addVlan(id: number): void
  removeVlan(id: number): void
  /** Forgets what another process had added and nobody has added since. */
  sweep(): void
  /** A byte for each port or identifier of each protocol of NatRow. */
  readonly natPorts: Uint8Array
}

/** One kind of what is ours on one uplink. */
export interface SteeringPart {
  /** A bounded piece of work; true when the program has been told everything. */
  step(): boolean
}

const ADDRESS_BYTES = 16
/** All bits of an address. */
export const HOST_BITS = 128

/** The last word of ::ffff:a.b.c.d as the bytes that a program takes; the same array each time. */
export class AddressBytes {
  readonly #bytes = new Uint8Array(ADDRESS_BYTES)

  constructor() {
    this.#bytes[10] = 0xff
    this.#bytes[11] = 0xff
  }

  of(address4: number): Uint8Array {
    const bytes = this.#bytes
    bytes[12] = address4 >>> 24
    bytes[13] = address4 >>> 16
    bytes[14] = address4 >>> 8
    bytes[15] = address4
    return bytes
  }
}
