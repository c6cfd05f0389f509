/**
 * Random frames and sequences that make sense now and then: what scenarios send, what a grammar
 * makes of a few addresses and ports, answers to what came out, and all of it bent, cut, put
 * together anew, fragmented, wrapped, and quoted by errors. Seeded: the same seed, the same frames.
 */
import type { Prng } from '../../../src/base/prng.js'
import { eth, type PacketBuilder } from '../packet-builder.js'
import type { MemoryWorld } from '../scenario/memory-world.js'
import { sctpBytes } from '../scenario/sctp.js'
import type { SentFrame } from '../scenario/world.js'
import {
  encapsulate,
  errorAbout,
  fixChecksums,
  fragments,
  isPlainIpv4,
  truncations,
  turnedRound,
} from './mutate.js'

export interface FuzzFrame {
  readonly port: string
  readonly frame: Uint8Array
}

const FLAGS = ['SYN', 'SYN ACK', 'ACK', 'PSH ACK', 'FIN ACK', 'RST', 'RST ACK', 'SYN FIN', '']
const PORTS = [0, 1, 53, 80, 443, 1024, 8080, 30080, 32768, 40000, 40001, 65535, 8472]
const ERRORS = [
  [3, 0],
  [3, 3],
  [3, 4],
  [3, 13],
  [4, 0],
  [5, 1],
  [11, 0],
  [11, 1],
  [12, 0],
  [3, 200],
] as const
const MEMORY = 64

export class FrameFuzzer {
  readonly #world: MemoryWorld
  readonly #prng: Prng
  readonly #corpus: readonly FuzzFrame[]
  readonly #addresses: readonly string[]
  readonly #ports: readonly string[]
  /** What came out lately, for answers; what went in, to be sent again or spliced. */
  readonly #seen: SentFrame[] = []
  readonly #sent: FuzzFrame[] = []

  /** @param addresses that frames are from and to, beside those of the ports */
  constructor(
    world: MemoryWorld,
    prng: Prng,
    corpus: readonly FuzzFrame[],
    addresses: readonly string[],
  ) {
    this.#world = world
    this.#prng = prng
    this.#ports = world.portNames
    this.#corpus = corpus.filter(({ port }) => this.#ports.includes(port))
    this.#addresses = [...addresses, ...this.#ports.map((name) => world.names.port(name).address)]
  }

  remember(sent: readonly SentFrame[]): void {
    for (const frame of sent) {
      if (this.#seen.length < MEMORY) this.#seen.push(frame)
      else this.#seen[this.#below(MEMORY)] = frame
    }
  }

  /** One frame, or the pieces of one. */
  next(): FuzzFrame[] {
    const base = this.#base()
    const made = this.#bend(base)
    for (const frame of made) {
      if (this.#sent.length < MEMORY) this.#sent.push(frame)
      else this.#sent[this.#below(MEMORY)] = frame
    }
    return made
  }

  #base(): FuzzFrame {
    const kind = this.#below(10)
    if (kind < 3 && this.#corpus.length > 0) return this.#pick(this.#corpus)
    if (kind < 6 && this.#seen.length > 0) {
      const { port, bytes } = this.#pick(this.#seen)
      return { port, frame: turnedRound(bytes) }
    }
    if (kind === 6 && this.#sent.length > 0) return this.#pick(this.#sent)
    return this.#grammar()
  }

  #bend(base: FuzzFrame): FuzzFrame[] {
    const { port, frame } = base
    switch (this.#below(14)) {
      case 0:
        return [{ port, frame: this.#flip(frame, 1 + this.#below(4)) }]
      case 1:
        return [{ port, frame: fixChecksums(this.#flip(frame, 1 + this.#below(3))) }]
      case 2:
        return [{ port, frame: this.#pick([...truncations(frame), frame]) }]
      case 3:
        return fragments(frame, 36 + 8 * this.#below(12)).map((piece) => ({ port, frame: piece }))
      case 4:
        return this.#shuffled(fragments(frame, 36 + 8 * this.#below(12)), port)
      case 5:
        return [this.#wrap(frame)]
      case 6:
        return [this.#errorAboutSeen(base)]
      case 7:
        return [{ port: this.#pick(this.#ports), frame }]
      case 8:
        return [{ port, frame: this.#splice(frame) }]
      case 9:
        return [{ port, frame: fixChecksums(this.#splice(frame)) }]
      default:
        return [base]
    }
  }

  #grammar(): FuzzFrame {
    const prng = this.#prng
    const port = this.#pick(this.#ports)
    const { mac, nodeMac, address } = this.#world.names.port(port)
    const isOwn = this.#below(8) !== 0 && port.startsWith('pod')
    const network = eth({ from: mac, to: nodeMac }).ipv4({
      from: isOwn ? address : this.#pick(this.#addresses),
      to: this.#pick(this.#addresses),
      ttl: this.#pick([0, 1, 2, 63, 64, 255]),
      id: this.#below(4),
      flags: this.#pick(['', '', 'DF', 'MF']),
      tos: this.#below(4) === 0 ? prng.below(256) : 0,
      ...(this.#below(12) === 0 ? { options: [0x94, 4, 0, 0] } : {}),
      ...(this.#below(12) === 0 ? { fragmentOffset: 8 * this.#below(16) } : {}),
    })
    return { port, frame: this.#transport(network) }
  }

  #transport(network: PacketBuilder): Uint8Array {
    const [from, to] = [this.#pick(PORTS), this.#pick(PORTS)]
    const size = this.#pick([0, 1, 7, 8, 64, 600, 1400])
    const isPartial = this.#below(6) === 0 ? { partialChecksum: true } : {}
    switch (this.#below(8)) {
      case 0:
      case 1:
      case 2: {
        const segment = { from, to, flags: this.#pick(FLAGS), seq: this.#below(9), ...isPartial }
        return network.tcp(segment).payload(size).bytes()
      }
      case 3:
      case 4: {
        const checksum = this.#below(5) === 0 ? { checksum: 0 } : isPartial
        return network
          .udp({ from, to, ...checksum })
          .payload(size)
          .bytes()
      }
      case 5:
        return network
          .icmpEcho({ id: from, seq: 1, reply: this.#below(2) === 0 })
          .payload(size)
          .bytes()
      case 6: {
        const chunks = new Uint8Array(size & ~3)
        const bytes = sctpBytes({ from, to, tag: 1 }, chunks)
        return fixChecksums(this.#protocol(network.payload(bytes).bytes(), 132))
      }
      default:
        return network.payload(size).bytes()
    }
  }

  #protocol(frame: Uint8Array, protocol: number): Uint8Array {
    frame[23] = protocol
    return frame
  }

  #wrap(frame: Uint8Array): FuzzFrame {
    const port = this.#pick(this.#ports)
    const { mac, nodeMac } = this.#world.names.port(port)
    const [from, to] = [this.#pick(this.#addresses), this.#pick(this.#addresses)]
    const vni = this.#pick([0, 1, 2, 6, 301, 302, 601, 0xffffff])
    return { port, frame: encapsulate(frame, vni, { from: mac, to: nodeMac }, { from, to }) }
  }

  #errorAboutSeen(base: FuzzFrame): FuzzFrame {
    const seen = this.#seen.length > 0 ? this.#pick(this.#seen) : undefined
    const frame = seen?.bytes ?? base.frame
    if (!isPlainIpv4(frame)) return base
    const [type, code] = this.#pick(ERRORS)
    const error = errorAbout(frame, type, code, this.#pick(this.#addresses))
    return { port: seen?.port ?? base.port, frame: error }
  }

  /** Pieces in another order, some twice, some not at all. */
  #shuffled(pieces: readonly Uint8Array[], port: string): FuzzFrame[] {
    return pieces.map(() => ({ port, frame: this.#pick(pieces) }))
  }

  #splice(frame: Uint8Array): Uint8Array {
    const other = this.#sent.length > 0 ? this.#pick(this.#sent).frame : frame
    const at = this.#below(Math.min(frame.length, other.length) + 1)
    return Uint8Array.from([...frame.subarray(0, at), ...other.subarray(at)])
  }

  #flip(frame: Uint8Array, count: number): Uint8Array {
    const flipped = frame.slice()
    if (flipped.length === 0) return flipped
    for (let i = 0; i < count; i++) {
      // Headers are more interesting than payload.
      const reach = this.#below(4) === 0 ? flipped.length : Math.min(flipped.length, 62)
      const at = this.#below(reach)
      const byte = flipped[at] as number
      flipped[at] = this.#pick([0, 255, byte ^ (1 << this.#below(8)), this.#below(256)])
    }
    return flipped
  }

  #below(limit: number): number {
    return this.#prng.below(limit)
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#below(items.length)]
    if (item === undefined) throw new Error('nothing to pick from')
    return item
  }
}
