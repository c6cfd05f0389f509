/** SCTP's header and checksum, and quoted packets in ICMP errors. */
import t from 'tap'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { setQuotedDestination, setQuotedSource } from '../../src/wire/quoted.js'
import * as sctp from '../../src/wire/sctp.js'
import { bare, eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'

const ICMP_OFFSET = 34
const TARGET = 0x0a60000a

function bufferOf(bytes: Uint8Array): { p: PacketBuffer; read: () => Uint8Array } {
  const memory = new SharedArrayBuffer(2048)
  const view = new Uint8Array(memory)
  view.set(bytes)
  const p = new PacketBuffer(memory, 2048)
  p.attach(0, bytes.length)
  return { p, read: () => view.slice(0, bytes.length) }
}

/** The CRC32c of the bytes, one bit at a time and apart from the code under test. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) * 0x82f63b78)
  }
  return ~crc >>> 0
}

t.test('the reference agrees with the published check value', async (t) => {
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
})

t.test('the checksum is the CRC32c with its own field as zero, lowest byte first', async (t) => {
  for (const size of [12, 13, 16, 100, 1460]) {
    const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 37 + 5) & 255)
    const zeroed = bytes.slice().fill(0, 8, 12)
    const { p, read } = bufferOf(bytes)
    sctp.fillChecksum(p, 0, size)
    t.equal(new DataView(read().buffer).getUint32(8, true), crc32c(zeroed), `${size} bytes`)
    t.ok(sctp.mayRenewChecksum(p, 0, size))
    p.setU8(size - 1, p.u8(size - 1) ^ 1)
    t.notOk(sctp.mayRenewChecksum(p, 0, size), 'a damaged packet is not made right')
    p.setI32(8, 0)
    t.ok(sctp.mayRenewChecksum(p, 0, size), 'one that nobody summed up is')
  }
})

t.test('a header needs twelve bytes', async (t) => {
  for (let length = 0; length <= 12; length++) {
    const { p } = bufferOf(new Uint8Array(length))
    t.equal(sctp.isValid(p, 0), length === 12)
  }
})

t.test('the quoted packet changes with all checksums, wherever the quote ends', async (t) => {
  const kinds = {
    tcp: bare().ipv4({ from: '10.0.1.1', to: '10.0.1.2' }).tcp({ from: 40000, to: 8080 }),
    udp: bare().ipv4({ from: '10.0.1.1', to: '10.0.1.2' }).udp({ from: 40000, to: 8080 }),
    bareUdp: bare()
      .ipv4({ from: '10.0.1.1', to: '10.0.1.2' })
      .udp({ from: 40000, to: 8080, checksum: 0 }),
  }
  for (const [name, builder] of Object.entries(kinds)) {
    const whole = builder.payload('some data to be quoted').bytes()
    for (let size = 28; size <= whole.length; size++) {
      const error = eth()
        .ipv4({ from: '10.0.1.2', to: '10.0.1.1' })
        .icmpError({ type: 3, code: 3, quoted: whole.subarray(0, size) })
        .bytes()
      const { p, read } = bufferOf(error)
      setQuotedDestination(p, ICMP_OFFSET, error.length, TARGET, 80)
      setQuotedSource(p, ICMP_OFFSET, error.length, 0x0a000163, 40001)
      const packet = checkPacket(t, read(), {
        quoted: { ipv4: { from: '10.0.1.99', to: '10.96.0.10' } },
      })
      const ports = [...read().subarray(62, 66)]
      t.same(ports, [40001 >> 8, 40001 & 255, 0, 80], `${name}, ${size} bytes`)
      t.same(packet.problems, [])
    }
  }
})
