/**
 * Changes to frames that an attacker, a broken sender or a bad cable would make: cuts, single bytes,
 * and what knows the structure: checksums made right again, fragments, envelopes, errors that quote.
 */
import { bare, eth, fragmentIpv4 } from '../packet-builder.js'
import { ipv4Text, macText, number16 } from '../packet-text.js'
import { sctpCrc } from '../scenario/sctp.js'

const ETHERNET = 14
const TCP = 6
const UDP = 17
const ICMP = 1
const SCTP = 132

/** Ethernet, IPv4, and as much as TCP or an error's quoted headers may take. */
const HEADER_BYTES_MAX = 14 + 20 + 8 + 20 + 8

/** Every shorter frame. */
export function* truncations(frame: Uint8Array): Generator<Uint8Array> {
  for (let length = 0; length < frame.length; length++) yield frame.slice(0, length)
}

/** Every byte of the headers with other values, as it is and with checksums that fit again. */
export function* byteMutations(frame: Uint8Array): Generator<Uint8Array> {
  const end = Math.min(frame.length, HEADER_BYTES_MAX)
  for (let at = 0; at < end; at++) {
    const byte = frame[at] as number
    for (const value of new Set([0, 0xff, byte ^ 1, byte ^ 0x80, (byte + 1) & 0xff, byte ^ 0x20])) {
      if (value === byte) continue
      const mutated = frame.slice()
      mutated[at] = value
      yield mutated
      yield fixChecksums(mutated.slice())
    }
  }
}

/** Makes all checksums of an IPv4 frame right, as far as its lengths make sense; in place. */
export function fixChecksums(frame: Uint8Array): Uint8Array {
  if (frame.length < ETHERNET + 20 || number16(frame, 12) !== 0x0800) return frame
  const headerBytes = ((frame[ETHERNET] as number) & 15) * 4
  const total = number16(frame, ETHERNET + 2)
  if (headerBytes < 20 || total < headerBytes || ETHERNET + total > frame.length) return frame
  const header = frame.subarray(ETHERNET, ETHERNET + headerBytes)
  put16(header, 10, 0)
  put16(header, 10, fold(sum(header, 0)))
  if ((number16(header, 6) & 0x3fff) !== 0) return frame
  fixTransport(header, frame.subarray(ETHERNET + headerBytes, ETHERNET + total))
  return frame
}

function fixTransport(header: Uint8Array, body: Uint8Array): void {
  const protocol = header[9] as number
  const pseudo = sum(header.subarray(12, 20), protocol + body.length)
  if (protocol === TCP && body.length >= 20) fixAt(body, 16, pseudo)
  else if (protocol === UDP && body.length >= 8 && number16(body, 6) !== 0) {
    fixAt(body, 6, pseudo)
    if (number16(body, 6) === 0) put16(body, 6, 0xffff)
  } else if (protocol === ICMP && body.length >= 8) fixAt(body, 2, 0)
  else if (protocol === SCTP && body.length >= 12) {
    body.fill(0, 8, 12)
    new DataView(body.buffer, body.byteOffset).setUint32(8, sctpCrc(body), true)
  }
}

function fixAt(body: Uint8Array, at: number, start: number): void {
  put16(body, at, 0)
  put16(body, at, fold(sum(body, start)))
}

function sum(bytes: Uint8Array, start: number): number {
  let total = start
  for (let i = 0; i < bytes.length; i += 2) {
    total += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0)
  }
  return total
}

function fold(total: number): number {
  let rest = total
  while (rest > 0xffff) rest = (rest & 0xffff) + Math.floor(rest / 65_536)
  return ~rest & 0xffff
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8
  bytes[at + 1] = value & 255
}

/** Could addresses and ports be read? */
export function isPlainIpv4(frame: Uint8Array): boolean {
  return frame.length >= ETHERNET + 28 && number16(frame, 12) === 0x0800 && frame[ETHERNET] === 0x45
}

/** Pieces of a datagram; the frame itself when it cannot be cut. */
export function fragments(frame: Uint8Array, mtuBytes: number): Uint8Array[] {
  return isPlainIpv4(frame) ? fragmentIpv4(frame, mtuBytes) : [frame]
}

/** The frame in a VXLAN envelope. */
export function encapsulate(
  frame: Uint8Array,
  vni: number,
  link: { readonly from: string; readonly to: string },
  network: { readonly from: string; readonly to: string },
): Uint8Array {
  const header = [8, 0, 0, 0, vni >> 16, (vni >> 8) & 255, vni & 255, 0]
  const datagram = eth(link).ipv4(network).udp({ from: 45_000, to: 8472, checksum: 0 })
  return datagram.payload(Uint8Array.from([...header, ...frame])).bytes()
}

/** An ICMP error about the frame, to its sender. */
export function errorAbout(
  frame: Uint8Array,
  type: number,
  code: number,
  from: string,
): Uint8Array {
  const [to, source] = [macText(frame.subarray(6, 12)), macText(frame.subarray(0, 6))]
  const sender = ipv4Text(frame.subarray(ETHERNET + 12, ETHERNET + 16))
  const quoted = frame.subarray(ETHERNET, ETHERNET + 28 + (frame.length % 9))
  const error = { type, code, quoted: bare().payload(quoted).bytes() }
  return eth({ from: source, to }).ipv4({ from, to: sender }).icmpError(error).bytes()
}

/** What the receiver of the frame might answer: addresses and ports turned round. */
export function turnedRound(frame: Uint8Array): Uint8Array {
  const turned = frame.slice()
  const swap = (a: number, b: number, length: number) => {
    turned.set(frame.subarray(a, a + length), b)
    turned.set(frame.subarray(b, b + length), a)
  }
  swap(0, 6, 6)
  if (!isPlainIpv4(frame)) return turned
  swap(ETHERNET + 12, ETHERNET + 16, 4)
  turned[ETHERNET + 8] = 64
  const protocol = frame[ETHERNET + 9]
  if (protocol === TCP || protocol === UDP || protocol === SCTP) {
    swap(ETHERNET + 20, ETHERNET + 22, 2)
  } else if (protocol === ICMP && frame[ETHERNET + 20] === 8) turned[ETHERNET + 20] = 0
  if (protocol === TCP && turned.length > ETHERNET + 33) {
    const flags = turned[ETHERNET + 33] as number
    turned[ETHERNET + 33] = flags | 0x10
  }
  return fixChecksums(turned)
}
