/** What an uplink's steering program is told, as the maps change. */
import t from 'tap'
import type { SteeringProgram } from '../../src/engine/steering/steering-program.js'
import { UplinkSteering } from '../../src/engine/uplink-steering.js'
import { NatRow } from '../../src/nat/nat-protocol.js'
import { formatIpv4 } from '../../src/wire/address.js'
import { seededPrng } from '../support/seed.js'
import { service, VIP } from '../support/service-node.js'
import { TestNode, UPLINK_ADDRESS, UPLINK_MAC } from '../support/test-node.js'
import { NODE_PORT, outer, request } from '../support/uplink-node.js'

/** Holds what it was told, as lines; `room` is the number of frontends it takes. */
class FakeProgram implements SteeringProgram {
  readonly natPorts = new Uint8Array(4 * 65_536)
  readonly told = new Set<string>()
  calls = 0
  sweeps = 0
  #room: number

  constructor(room = 1_000_000) {
    this.#room = room
  }

  sweep(): void {
    this.sweeps++
  }

  addFrontend(address: Uint8Array | null, port: number, protocol: number): void {
    if (this.told.size >= this.#room) throw new Error('map frontends is full')
    this.#set(true, `frontend ${text(address)}:${port}/${protocol}`)
  }

  removeFrontend(address: Uint8Array | null, port: number, protocol: number): void {
    this.#set(false, `frontend ${text(address)}:${port}/${protocol}`)
  }

  addPodCidr(address: Uint8Array, prefixBits: number): void {
    this.#set(true, `all of ${text(address)}/${prefixBits}`)
  }

  removePodCidr(address: Uint8Array, prefixBits: number): void {
    this.#set(false, `all of ${text(address)}/${prefixBits}`)
  }

  addNatAddress(address: Uint8Array): void {
    this.#set(true, `NAT ${text(address)}`)
  }

  removeNatAddress(address: Uint8Array): void {
    this.#set(false, `NAT ${text(address)}`)
  }

  addGuarded(address: Uint8Array): void {
    this.#set(true, `guard ${text(address)}`)
  }

  removeGuarded(address: Uint8Array): void {
    this.#set(false, `guard ${text(address)}`)
  }

  addAnnounced(address: Uint8Array): void {
    this.#set(true, `ARP ${text(address)}`)
  }

  removeAnnounced(address: Uint8Array): void {
    this.#set(false, `ARP ${text(address)}`)
  }

  addDenied(address: Uint8Array, prefixBits: number): void {
    if (this.told.size >= this.#room) throw new Error('map denied is full')
    this.#set(true, `deny ${text(address)}/${prefixBits}`)
  }

  removeDenied(address: Uint8Array, prefixBits: number): void {
    this.#set(false, `deny ${text(address)}/${prefixBits}`)
  }

  setVlanFilter(isOn: boolean): void {
    this.#set(isOn, 'VLAN filter')
  }

  addVlan(id: number): void {
    this.#set(true, `VLAN ${id}`)
  }

  removeVlan(id: number): void {
    this.#set(false, `VLAN ${id}`)
  }

  get lines(): string[] {
    return [...this.told].sort()
  }

  #set(isThere: boolean, line: string): void {
    this.calls++
    if (isThere) this.told.add(line)
    else this.told.delete(line)
  }
}

const text = (address: Uint8Array | null) =>
  address === null ? 'any' : formatIpv4(new DataView(address.buffer).getInt32(12))

function steer(node: TestNode, program = new FakeProgram(), log: string[] = []) {
  const { portUse } = node.nat
  const steering = new UplinkSteering(
    node.maps,
    portUse,
    () => program,
    (line) => log.push(line),
  )
  steering.attached(node.uplinkPort, 'uplink')
  steering.finish()
  return { steering, program }
}

t.test('what a process before had told is swept once, when everything has been told', async (t) => {
  const { steering, program } = steer(new TestNode({ hasUplink: true }))
  t.equal(program.sweeps, 1)
  steering.step()
  t.equal(program.sweeps, 1)
})

t.test('what the maps say is told at once, and each change of it', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  const { steering, program } = steer(node)
  const base = [`NAT ${UPLINK_ADDRESS}`, `all of ${pod.address}/128`]
  t.same(program.lines, base)

  node.controller.setService(service([pod], { frontends: [outer()] }))
  steering.finish()
  t.same(program.lines, [...base, `frontend ${UPLINK_ADDRESS}:${NODE_PORT}/6`])

  const frontends = [{ address: VIP, port: 53, protocol: 'ANY', type: 'LoadBalancer' }] as const
  node.controller.setService(service([pod], { frontends }))
  steering.finish()
  const any = [6, 17, 132].map((protocol) => `frontend ${VIP}:53/${protocol}`)
  t.same(program.lines, [...base, `all of ${VIP}/128`, ...any].sort())

  node.controller.deleteService('web')
  node.controller.removeEndpoint(pod.id)
  node.controller.addUplink({ device: 'eth1', address: '203.0.113.2', mac: UPLINK_MAC })
  steering.finish()
  t.same(program.lines, [`NAT ${UPLINK_ADDRESS}`, 'NAT 203.0.113.2'])
  node.close()
})

t.test('the tunnel’s port is ours at our addresses, whichever it is', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const { steering, program } = steer(node)
  const tunnel = (port: number) => [
    `NAT ${UPLINK_ADDRESS}`,
    `frontend ${UPLINK_ADDRESS}:${port}/17`,
  ]
  node.controller.setTunnel({ mode: 'tunnel' })
  steering.finish()
  t.same(program.lines, tunnel(8472))
  node.controller.setTunnel({ mode: 'tunnel', port: 4789 })
  steering.finish()
  t.same(program.lines, tunnel(4789))
  node.controller.setTunnel({ mode: 'native' })
  steering.finish()
  t.same(program.lines, [`NAT ${UPLINK_ADDRESS}`])
  node.close()
})

t.test(
  'what begins at an uplink is ours only where the host firewall is to judge it',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const { steering, program } = steer(node)
    const isGuarded = () => program.lines.includes(`guard ${UPLINK_ADDRESS}`)
    node.controller.setHostFirewall(true)
    steering.finish()
    t.notOk(isGuarded())
    node.controller.setHostFirewall(true, true)
    steering.finish()
    t.ok(isGuarded())
    node.controller.setHostFirewall(false)
    steering.finish()
    t.notOk(isGuarded())
    node.close()
  },
)

t.test('announced addresses, denied sources and VLANs are told, and withdrawn', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const { steering, program } = steer(node)
  const { netdev } = node.controller
  netdev.announce(VIP)
  netdev.setDeniedSources(['198.51.100.0/24', '0.0.0.0/0', '203.0.113.7'])
  netdev.setAllowedVlans([7, 4094])
  steering.finish()
  const base = `NAT ${UPLINK_ADDRESS}`
  t.same(program.lines, [
    `ARP ${VIP}`,
    base,
    'VLAN 4094',
    'VLAN 7',
    'VLAN filter',
    'deny 0.0.0.0/96',
    'deny 198.51.100.0/120',
    'deny 203.0.113.7/128',
  ])
  netdev.withdraw(VIP)
  netdev.setDeniedSources(['203.0.113.7'])
  netdev.setAllowedVlans([8])
  steering.finish()
  t.same(program.lines, [base, 'VLAN 8', 'VLAN filter', 'deny 203.0.113.7/128'])
  netdev.setDeniedSources([])
  netdev.setAllowedVlans([])
  steering.finish()
  t.same(program.lines, [base])
  node.close()
})

t.test('ports of the NAT are ours at the egress addresses of this gateway, too', async (t) => {
  const node = new TestNode({ hasUplink: true })
  node.controller.setTunnel({ mode: 'tunnel' })
  const { steering, program } = steer(node)
  const base = [`NAT ${UPLINK_ADDRESS}`, `frontend ${UPLINK_ADDRESS}:8472/17`]
  const rule = { sources: ['10.0.1.1'], destinations: ['0.0.0.0/0'] }
  const gateway = UPLINK_ADDRESS
  node.controller.egress.set([
    { ...rule, gateway, egressAddress: '192.0.2.99' },
    { ...rule, sources: ['10.0.1.2'], gateway: '192.0.2.3', egressAddress: '192.0.2.98' },
    { ...rule, sources: ['10.0.1.3'], gateway, egressAddress: UPLINK_ADDRESS },
  ])
  steering.finish()
  t.same(program.lines, ['NAT 192.0.2.99', ...base].sort())
  node.controller.egress.set([])
  steering.finish()
  t.same(program.lines, base)
  node.close()
})

t.test('a list of denied sources is told in bounded steps, as far as it fits', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const { steering, program } = steer(node)
  const list = Array.from({ length: 200 }, (_, i) => `20.0.${i}.0/24`)
  node.controller.netdev.setDeniedSources(list)
  program.calls = 0
  steering.step()
  t.ok(program.calls > 0 && program.calls <= 64, `${program.calls} calls`)
  steering.finish()
  t.equal(program.told.size, 201)
  const log: string[] = []
  t.equal(steer(node, new FakeProgram(10), log).program.told.size, 10)
  t.match(log, [/not all denied sources/])
  node.close()
})

t.test('ports of the NAT are marked while they are in use, also in a new program', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const elsewhere = { address: '10.0.2.1', port: 8080 }
  node.controller.setService(service([elsewhere], { frontends: [outer()] }))
  const { steering, program } = steer(node)
  node.send(node.uplink, request('SYN', 50_000))
  const row = NatRow.TCP * 65_536
  t.equal(program.natPorts[row + 50_000], 1)
  const second = steer(node).program
  t.equal(second.natPorts[row + 50_000], 1)
  steering.detaching(node.uplinkPort)
  node.send(node.uplink, request('SYN', 50_001))
  t.equal(program.natPorts[row + 50_001], 0, 'one that is gone is not written to')
  t.equal(second.natPorts[row + 50_001], 1)
  node.close()
})

t.test('a step is bounded, and nothing is told without a change', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const { steering, program } = steer(node)
  for (let i = 0; i < 200; i++) {
    node.controller.setService({
      ...service([], { frontends: [outer('ExternalIP', '203.0.113.7', 1000 + i)] }),
      name: `s${i}`,
    })
  }
  program.calls = 0
  steering.step()
  t.ok(program.calls > 0 && program.calls <= 64, `${program.calls} calls`)
  steering.finish()
  t.equal(program.told.size, 201)
  program.calls = 0
  for (let i = 0; i < 10; i++) steering.step()
  t.equal(program.calls, 0)
  node.close()
})

t.test('a program that is full takes what it can, and says so once', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const log: string[] = []
  for (let i = 0; i < 5; i++) {
    node.controller.setService({
      ...service([], { frontends: [outer('ExternalIP', '203.0.113.7', 1000 + i)] }),
      name: `s${i}`,
    })
  }
  const { program } = steer(node, new FakeProgram(3), log)
  t.equal(program.told.size, 3)
  t.equal(log.length, 1)
  t.match(log[0], /not all services/)
  node.close()
})

t.test('after any changes it has been told what a new program is told', async (t) => {
  const random = seededPrng(t)
  const node = new TestNode({ hasUplink: true })
  const { steering, program } = steer(node)
  const types = ['NodePort', 'ExternalIP', 'LoadBalancer', 'ClusterIP'] as const
  const protocols = ['TCP', 'UDP', 'ANY'] as const
  for (let round = 0; round < 150; round++) {
    const name = `s${random.below(12)}`
    if (random.below(3) === 0) node.controller.deleteService(name)
    else {
      const type = types[random.below(4)] ?? 'NodePort'
      const address = type === 'NodePort' ? UPLINK_ADDRESS : `203.0.113.${random.below(3)}`
      const protocol = protocols[random.below(3)] ?? 'TCP'
      const frontends = [{ type, address, protocol, port: 80 + random.below(4) }]
      try {
        node.controller.setService({ ...service([], { frontends }), name })
      } catch (error) {
        // Another service has that frontend.
        t.match(error, { code: 'ECONFIG_INVALID' })
      }
    }
    for (let steps = random.below(3); steps > 0; steps--) steering.step()
  }
  steering.finish()
  t.same(program.lines, steer(node).program.lines)
  node.close()
})

t.end()
