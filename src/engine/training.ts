/**
 * Training: V8 compiles what runs often, and the first packets of a new process find code that has
 * never run. A datapath that stands by runs the stages beforehand, on maps and frames of its own that
 * nobody else sees: connections between two pods by UDP, TCP and ICMP, and packets that are dropped.
 *
 * It trains what most packets take, not every branch: services, NAT and the tunnel are not among it.
 */
import { BURST_RECEIVE_MAX } from '../base/limits.js'
import { PortKind } from '../endpoint/endpoint-table.js'
import { Burst } from '../packet/burst.js'
import { PacketBuffer } from '../packet/packet-buffer.js'
import { DatapathMaps } from '../pipeline/datapath-maps.js'
import { Pipeline } from '../pipeline/pipeline.js'
import { PolicyWriter } from '../policy/policy-writer.js'
import { ipv4Words, type Mac } from '../wire/address.js'
import * as checksums from '../wire/checksum.js'
import * as ethernet from '../wire/ethernet.js'
import * as icmpv4 from '../wire/icmpv4.js'
import * as ipv4 from '../wire/ipv4.js'
import { EtherType, Protocol } from '../wire/protocols.js'
import * as tcp from '../wire/tcp.js'
import * as udp from '../wire/udp.js'

/** 16,000 frames: V8's optimizing compiler has had all hot functions by then. */
const ROUNDS = 250
const STRIDE = 2048
const HEADROOM = 256
const MAP_SIZES = { connections: 16_384, identities: 1024, policies: 1024, events: 1024 }
const HOST_PREFIX_BITS = 128
const IDENTITY = 1000
const L3 = ethernet.ETHERNET_HEADER_BYTES
const L4 = L3 + ipv4.IPV4_HEADER_BYTES
const PAYLOAD_BYTES = 64
const TTL = 64
const WINDOW = 0xffff
const ADDRESSES = [0x0a000001, 0x0a000002] as const
/** Nobody has it. */
const NOBODY = 0x0a000009
const NODE_MAC: Mac = { high: 0x02000000, low: 0xff }
const TCP_FLAGS = [tcp.Flag.SYN, tcp.Flag.SYN | tcp.Flag.ACK, tcp.Flag.ACK] as const

/** Runs the stages; takes some tenths of a second. */
export function train(): void {
  const maps = DatapathMaps.inMemory(MAP_SIZES)
  const policies = new PolicyWriter(maps.policyEntries, maps.policyPrefixes)
  const policy = policies.add({ enforceIngress: false, enforceEgress: false, rules: [] })
  for (const [port, address4] of ADDRESSES.entries()) {
    const address = ipv4Words(address4)
    const row = { kind: PortKind.POD, id: port + 1, identity: IDENTITY, policy, address }
    maps.endpoints.set(port, { ...row, mac: macOf(port), nodeMac: NODE_MAC })
    maps.ipcache.set(address, HOST_PREFIX_BITS, IDENTITY, port)
  }
  const burst = new Burst(BURST_RECEIVE_MAX)
  const packet = new PacketBuffer(new ArrayBuffer(BURST_RECEIVE_MAX * STRIDE), STRIDE)
  const pipeline = new Pipeline(maps.stateFor(0), packet, BURST_RECEIVE_MAX)
  for (let round = 0; round < ROUNDS; round++) {
    burst.setTime(round >> 4, round)
    for (let i = 0; i < BURST_RECEIVE_MAX; i++) {
      const start = i * STRIDE + HEADROOM
      burst.starts[i] = start
      burst.lengths[i] = writeFrame(packet, start, i, round)
      burst.ports[i] = i & 1
    }
    burst.count = BURST_RECEIVE_MAX
    pipeline.run(burst)
    pipeline.step()
  }
  pipeline.settle()
}

const macOf = (port: number): Mac => ({ high: 0x02000000, low: port + 1 })

/** From the pod of an even frame to that of an odd one, or back: four flows each of every kind. */
function writeFrame(packet: PacketBuffer, start: number, index: number, round: number): number {
  const from = index & 1
  const kind = (index >> 1) & 7
  const flow = (index >> 4) + 1
  const source = ADDRESSES[from] as number
  const destination = kind === 7 ? NOBODY : (ADDRESSES[1 - from] as number)
  packet.attach(start, L4 + tcp.TCP_HEADER_BYTES + PAYLOAD_BYTES)
  ethernet.setDestination(packet, 0, NODE_MAC.high, NODE_MAC.low)
  ethernet.setSource(packet, 0, macOf(from).high, macOf(from).low)
  ethernet.setType(packet, 0, EtherType.IPV4)
  // The same ports in both directions, and new flows now and then.
  const low = 1024 + flow + ((round >> 5) << 4)
  const [fromPort, toPort] = from === 0 ? [low, 80] : [80, low]
  const write = kind < 4 ? writeTcp : kind < 6 ? writeUdp : writeEcho
  return write(packet, source, destination, fromPort as number, toPort as number, round)
}

type Write = (
  packet: PacketBuffer,
  source: number,
  destination: number,
  fromPort: number,
  toPort: number,
  round: number,
) => number

const writeTcp: Write = (packet, source, destination, fromPort, toPort, round) => {
  const bytes = tcp.TCP_HEADER_BYTES + PAYLOAD_BYTES
  const flags = TCP_FLAGS[Math.min(round & 31, 2)] as number
  ipv4.writeHeader(
    packet,
    L3,
    ipv4.IPV4_HEADER_BYTES + bytes,
    TTL,
    Protocol.TCP,
    source,
    destination,
  )
  tcp.writeHeader(packet, L4, fromPort, toPort, round, round, flags, WINDOW)
  tcp.fillChecksum(packet, L4, bytes, checksums.pseudoHeader4(packet, L3, Protocol.TCP, bytes))
  return L4 + bytes
}

const writeUdp: Write = (packet, source, destination, fromPort, toPort) => {
  const bytes = udp.UDP_HEADER_BYTES + PAYLOAD_BYTES
  ipv4.writeHeader(
    packet,
    L3,
    ipv4.IPV4_HEADER_BYTES + bytes,
    TTL,
    Protocol.UDP,
    source,
    destination,
  )
  udp.writeHeader(packet, L4, fromPort, toPort, bytes)
  udp.fillChecksum(packet, L4, checksums.pseudoHeader4(packet, L3, Protocol.UDP, bytes))
  return L4 + bytes
}

const writeEcho: Write = (packet, source, destination, fromPort, toPort, round) => {
  const bytes = icmpv4.ICMPV4_HEADER_BYTES + PAYLOAD_BYTES
  const isRequest = toPort === 80
  const type = isRequest ? icmpv4.Type.ECHO_REQUEST : icmpv4.Type.ECHO_REPLY
  const identifier = isRequest ? fromPort : toPort
  ipv4.writeHeader(
    packet,
    L3,
    ipv4.IPV4_HEADER_BYTES + bytes,
    TTL,
    Protocol.ICMPV4,
    source,
    destination,
  )
  icmpv4.writeHeader(packet, L4, type, 0, (identifier << 16) | (round & 0xffff))
  icmpv4.fillChecksum(packet, L4, bytes)
  return L4 + bytes
}
