/**
 * Judges frames in tests: `checkPacket(t, frame, { ipv4: { ttl: 63 }, tcp: { flags: 'SYN' } })`.
 * Whatever else is asked for, lengths, checksums and padding are verified, as in gVisor's checker;
 * see packet-parser.ts.
 */
import { PacketBuilder } from './packet-builder.js'
import { type ParsedPacket, parseFrame } from './packet-parser.js'
import { hex } from './packet-text.js'

/** What of a frame has to be so; null for a layer that must not be there. */
export interface ExpectedPacket {
  readonly eth?: Partial<NonNullable<ParsedPacket['eth']>>
  /** Identifiers, outermost first; without it no tag is allowed. */
  readonly vlans?: readonly number[]
  readonly arp?: Partial<NonNullable<ParsedPacket['arp']>> | null
  readonly ipv4?: Partial<NonNullable<ParsedPacket['ipv4']>> | null
  readonly ipv6?: Partial<NonNullable<ParsedPacket['ipv6']>> | null
  readonly tcp?: Partial<NonNullable<ParsedPacket['tcp']>> | null
  readonly udp?: Partial<NonNullable<ParsedPacket['udp']>> | null
  readonly icmp?: Partial<NonNullable<ParsedPacket['icmp']>> | null
  /** What an ICMP error quotes. */
  readonly quoted?: ExpectedPacket
  readonly payload?: string | Uint8Array
  /** Problems that are wanted; without it there may be none. */
  readonly problems?: readonly string[]
}

/** What is used of a tap test. */
interface Asserts {
  pass(message: string): boolean
  fail(message: string, extra: object): boolean
}

const LAYERS = ['eth', 'arp', 'ipv4', 'ipv6', 'tcp', 'udp', 'icmp'] as const

/**
 * Fails the test with every difference at once. A builder stands for exactly its bytes. Returns the
 * parsed frame for further questions.
 */
export function checkPacket(
  t: Asserts,
  bytes: Uint8Array,
  expected: ExpectedPacket | PacketBuilder = {},
  message = 'the frame is as expected',
): ParsedPacket {
  const found = parseFrame(bytes)
  const differences =
    expected instanceof PacketBuilder
      ? compareBytes(found, bytes, expected.bytes())
      : compare(found, expected, '')
  if (differences.length === 0) t.pass(message)
  else t.fail(message, { differences, frame: describe(bytes) })
  return found
}

/** One line as tcpdump would print it, with what is wrong with the frame in brackets. */
export function describe(bytes: Uint8Array): string {
  const packet = parseFrame(bytes)
  const tags = packet.vlans.map((tag) => ` vlan ${tag.id}`).join('')
  const link = packet.eth === undefined ? '' : `${packet.eth.from} > ${packet.eth.to}${tags}: `
  const problems = packet.problems.length === 0 ? '' : ` [${packet.problems.join('; ')}]`
  return link + describeNetwork(packet) + problems
}

function compareBytes(found: ParsedPacket, bytes: Uint8Array, wanted: Uint8Array): string[] {
  if (Buffer.compare(bytes, wanted) === 0) return []
  const at = bytes.findIndex((byte, i) => byte !== wanted[i])
  const where = at === -1 ? bytes.length : at
  const lengths = `found ${bytes.length} bytes, wanted ${wanted.length}`
  return [
    `${lengths}, first difference at ${where}: ${bytes[where]} instead of ${wanted[where]}`,
    `wanted ${describe(wanted)}`,
    ...found.problems,
  ]
}

function compare(found: ParsedPacket, expected: ExpectedPacket, where: string): string[] {
  const differences: string[] = []
  const same = (name: string, a: unknown, b: unknown) => {
    const [is, wanted] = [JSON.stringify(a), JSON.stringify(b)]
    if (is !== wanted) differences.push(`${where}${name} is ${is}, wanted ${wanted}`)
  }
  same('problems', found.problems, expected.problems ?? [])
  if (where === '') {
    const ids = found.vlans.map((tag) => tag.id)
    same('vlans', ids, expected.vlans ?? [])
  }
  for (const layer of LAYERS) {
    const wanted = expected[layer]
    const is = found[layer] as Record<string, unknown> | undefined
    if (wanted === undefined) continue
    if (wanted === null || is === undefined) {
      if (wanted !== null || is !== undefined) same(layer, is, wanted)
      continue
    }
    for (const [field, value] of Object.entries(wanted)) same(`${layer}.${field}`, is[field], value)
  }
  if (expected.payload !== undefined) {
    same('payload', [...found.payload], [...Buffer.from(expected.payload)])
  }
  if (expected.quoted === undefined) return differences
  if (found.quoted === undefined) return [...differences, `${where}quotes nothing`]
  return [...differences, ...compare(found.quoted, expected.quoted, `${where}quoted `)]
}

function describeNetwork(packet: ParsedPacket): string {
  if (packet.arp !== undefined) {
    const { operation, sender, senderMac, target } = packet.arp
    if (operation === 1) return `ARP who-has ${target} tell ${sender}`
    return operation === 2 ? `ARP ${sender} is-at ${senderMac}` : `ARP operation ${operation}`
  }
  const ip = packet.ipv4 ?? packet.ipv6
  if (ip === undefined) {
    return `type ${hex(packet.eth?.type ?? 0)}, length ${packet.payload.length}`
  }
  const ports = packet.tcp ?? packet.udp
  const from = ports === undefined ? ip.from : `${ip.from}.${ports.from}`
  const to = ports === undefined ? ip.to : `${ip.to}.${ports.to}`
  const name = packet.ipv4 === undefined ? 'IP6' : 'IP'
  return `${name} ${from} > ${to}: ${describeFragment(packet)}${describeUpper(packet)}`
}

function describeFragment(packet: ParsedPacket): string {
  const offset = packet.ipv4?.fragmentOffset ?? packet.ipv6?.fragmentOffset ?? 0
  const more = packet.ipv4?.flags.includes('MF') ?? packet.ipv6?.moreFragments ?? false
  return offset > 0 || more ? `fragment ${offset}${more ? '+' : ''}, ` : ''
}

function describeUpper(packet: ParsedPacket): string {
  const { tcp, udp, icmp, quoted } = packet
  const length = `length ${packet.payload.length}`
  if (tcp !== undefined) {
    return `TCP ${tcp.flags}, seq ${tcp.seq}, ack ${tcp.ack}, win ${tcp.window}, ${length}`
  }
  if (udp !== undefined) return `UDP, ${length}`
  if (icmp === undefined) return `protocol ${(packet.ipv4 ?? packet.ipv6)?.protocol}, ${length}`
  if (icmp.id !== undefined) {
    const isRequest = icmp.type === 8 || icmp.type === 128
    const kind = isRequest ? 'request' : 'reply'
    return `ICMP echo ${kind}, id ${icmp.id}, seq ${icmp.seq}, ${length}`
  }
  const about = quoted === undefined ? '' : ` about (${describeNetwork(quoted)})`
  return `ICMP type ${icmp.type} code ${icmp.code}${about}, ${length}`
}
