/** What the lab asks `ip` for, without asking it: names within the kernel's limits, MACs, lines. */
import t from 'tap'
import * as wiring from '../../src/lab/wiring.js'

t.test('a random MAC is unicast and locally administered', async (t) => {
  const macs = Array.from({ length: 200 }, () => wiring.randomMac())
  for (const mac of macs) {
    t.match(mac, /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/)
    t.equal(Number.parseInt(mac.slice(0, 2), 16) & 0x03, 0x02)
  }
  t.equal(new Set(macs).size, macs.length)
})

t.test('a device name fits the kernel, or is refused with its length', async (t) => {
  t.equal(wiring.lxcDevice('client'), 'lxc-client')
  t.equal(wiring.lxcDevice('elevenchars').length, 15)
  t.throws(() => wiring.lxcDevice('twelve-chars'), { code: 'ELAB_SETUP', message: /16 characters/ })
  t.ok(wiring.checkDevice(wiring.HOST_DEVICE))
  t.ok(wiring.checkDevice(wiring.NET_DEVICE))
})

t.test('a name that is no plain word is refused', async (t) => {
  for (const name of ['', 'Client', '-a', 'a b', 'a/../b', 'a;b', 'a\nlink delete b']) {
    t.throws(() => wiring.checkName(name), { code: 'ELAB_SETUP' }, JSON.stringify(name))
  }
})

t.test('a pod reaches everything by a gateway on its link', async (t) => {
  const pod = {
    podNetns: 'rp-x-client',
    device: 'lxc-client',
    address: '10.0.1.10',
    gateway: '10.0.1.1',
    mtuBytes: 1400,
    queues: 2,
    podMac: '02:00:00:00:00:01',
    hostMac: '02:00:00:00:00:02',
  }
  const ends = 'mtu 1400 numrxqueues 2 numtxqueues 2'
  t.same(wiring.podLinkLines(pod), [
    `link add lxc-client address 02:00:00:00:00:02 ${ends} type veth ` +
      `peer name eth0 address 02:00:00:00:00:01 ${ends} netns rp-x-client`,
    'link set lxc-client up',
  ])
  t.same(wiring.podAddressLines(pod), [
    'address add 10.0.1.10/32 dev eth0',
    'link set eth0 up',
    'route add 10.0.1.1 dev eth0 scope link',
    'route add default via 10.0.1.1 dev eth0',
  ])
})
