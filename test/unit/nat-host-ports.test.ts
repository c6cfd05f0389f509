/** The node's own ports: seen in /proc/net, and the NAT's ports kept from the node's sockets. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ArrayMap } from '../../src/maps/array-map.js'
import { HostPortScanner } from '../../src/nat/host-port-scanner.js'
import { HOST_PORTS_SPEC, HostPorts } from '../../src/nat/host-ports.js'
import { NatRow } from '../../src/nat/nat-protocol.js'
import { PortReservation } from '../../src/nat/port-reservation.js'
import { NAT_PORT_USE_SPEC, PortUse } from '../../src/nat/port-use.js'

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n'
const line = (n: number, local: string, rest = '00000000:0000 0A 00000000:00000000') =>
  `  ${n}: ${local} ${rest} 00:00000000 00000000     0        0 12345 1\n`

function directoryWith(t: Pick<Test, 'teardown'>, files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'rp-proc-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  return directory
}

const map = (spec: typeof HOST_PORTS_SPEC): ArrayMap =>
  ArrayMap.create(spec, new SharedArrayBuffer(ArrayMap.bytesFor(spec)))

t.test('sockets of both families are found, those of loopback are not', async (t) => {
  const wild6 = '00000000000000000000000000000000'
  const directory = directoryWith(t, {
    tcp: HEAD + line(0, '00000000:1F90') + line(1, '0100007F:1F91') + line(12345, '020200C0:BC34'),
    tcp6: HEAD + line(0, `${wild6}:1F92`) + line(1, '00000000000000000000000001000000:1F93'),
    udp: HEAD + line(407, '00000000:0035'),
    icmp: HEAD + line(3, '00000000:0007'),
  })
  const ports = new HostPorts(map(HOST_PORTS_SPEC))
  await new HostPortScanner(ports, directory).scan()
  t.ok(ports.has(NatRow.TCP, 0x1f90), 'listening')
  t.notOk(ports.has(NatRow.TCP, 0x1f91), 'on 127.0.0.1')
  t.ok(ports.has(NatRow.TCP, 0xbc34), 'connected')
  t.ok(ports.has(NatRow.TCP, 0x1f92), 'of IPv6, which may take IPv4')
  t.notOk(ports.has(NatRow.TCP, 0x1f93), 'on ::1')
  t.ok(ports.has(NatRow.UDP, 53))
  t.notOk(ports.has(NatRow.TCP, 53))
  t.ok(ports.has(NatRow.ICMP, 7))
  writeFileSync(join(directory, 'udp'), HEAD)
  await new HostPortScanner(ports, directory).scan()
  t.notOk(ports.has(NatRow.UDP, 53), 'gone with its socket')
})

t.test('a socket of this very process is found', async (t) => {
  const server = createServer().listen(0, '0.0.0.0')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const ports = new HostPorts(map(HOST_PORTS_SPEC))
  await new HostPortScanner(ports).scan()
  t.ok(ports.has(NatRow.TCP, port))
  server.close()
})

t.test('a look reads the tables when there are other sockets, and now and then', async (t) => {
  const signs = (tcp: number, opened: number) => ({
    sockstat: `sockets: used 9\nTCP: inuse ${tcp} orphan 0 tw 0 alloc 1\nUDP: inuse 1 mem 0\n`,
    snmp: `Tcp: RtoAlgorithm\nTcp: 1 200 120000 -1 ${opened} 5 0 0 1 99 99 0 0 0 0\n`,
  })
  const directory = directoryWith(t, { ...signs(1, 7), tcp: HEAD })
  const write = (files: Readonly<Record<string, string>>) => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  }
  const ports = new HostPorts(map(HOST_PORTS_SPEC))
  const scanner = new HostPortScanner(ports, directory)
  const sees = async (port: number) => {
    await scanner.look()
    return ports.has(NatRow.TCP, port)
  }
  t.notOk(await sees(80))
  write({ tcp: HEAD + line(0, '00000000:0050') })
  t.notOk(await sees(80), 'nothing tells of it')
  write(signs(2, 7))
  t.ok(await sees(80), 'one more is in use')
  write({ tcp: HEAD + line(0, '00000000:0051') })
  t.notOk(await sees(81))
  write(signs(2, 8))
  t.ok(await sees(81), 'a connection was begun in between')
  write({ tcp: HEAD })
  let looks = 0
  while (await sees(81)) looks++
  t.equal(looks, 7, 'the eighth look reads in any case')
})

t.test('a look sees a socket of this very process that is opened between two', async (t) => {
  const ports = new HostPorts(map(HOST_PORTS_SPEC))
  const scanner = new HostPortScanner(ports)
  await scanner.look()
  const server = createServer().listen(0, '0.0.0.0')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  await scanner.look()
  t.ok(ports.has(NatRow.TCP, port))
  server.close()
})

t.test(
  'the kernel is told which ports to leave alone, and the operator’s list stays',
  async (t) => {
    const files = {
      ip_local_reserved_ports: '8080,9000-9002\n',
      ip_local_port_range: '32768\t60999\n',
    }
    const directory = directoryWith(t, files)
    const told = () => readFileSync(join(directory, 'ip_local_reserved_ports'), 'latin1').trim()
    const portUse = map(NAT_PORT_USE_SPEC)
    const use = new PortUse(portUse)
    const reservation = new PortReservation(portUse, directory)
    for (const port of [40_000, 40_001, 40_002, 50_000]) use.take(NatRow.TCP, port)
    use.take(NatRow.UDP, 40_004)
    use.take(NatRow.TCP, 61_000)
    use.take(NatRow.ICMP, 45_000)
    reservation.update()
    t.equal(told(), '8080,9000-9002,40000-40002,40004,50000')
    use.release(NatRow.TCP, 40_001)
    reservation.update()
    t.equal(told(), '8080,9000-9002,40000,40002,40004,50000')

    const next = new PortReservation(portUse, directory)
    use.release(NatRow.TCP, 50_000)
    next.update()
    t.equal(
      told(),
      '8080,9000-9002,40000,40002,40004',
      'what a killed one left is not the operator’s',
    )
    next.close()
    t.equal(told(), '8080,9000-9002')
  },
)

t.test('half of the kernel’s ports stay free', async (t) => {
  const files = { ip_local_reserved_ports: '\n', ip_local_port_range: '32768\t60999\n' }
  const directory = directoryWith(t, files)
  const portUse = map(NAT_PORT_USE_SPEC)
  const use = new PortUse(portUse)
  for (let port = 32_768; port <= 65_535; port++) use.take(NatRow.UDP, port)
  new PortReservation(portUse, directory).update()
  const told = readFileSync(join(directory, 'ip_local_reserved_ports'), 'latin1').trim()
  t.equal(told, `32768-${32_768 + 14_116 - 1}`)
})

t.end()
