/** Gratuitous ARP for addresses that a node begins to answer for. */
import t from 'tap'
import { Announcer } from '../../src/engine/announcer.js'
import { PortStatus } from '../../src/port/port-table.js'
import { checkPacket } from '../support/packet-checker.js'
import { TestNode, UPLINK_MAC } from '../support/test-node.js'

const VIP = '203.0.113.80'
const OWNER = 77

function setUp(t: { after(work: () => void): void }) {
  const node = new TestNode({ hasUplink: true })
  t.after(() => node.close())
  const sent: { readonly device: string; readonly frame: Uint8Array }[] = []
  const announcer = new Announcer(node.maps, OWNER, (device, frame) => {
    sent.push({ device, frame: frame.slice() })
  })
  const attach = (status: PortStatus) => {
    const report = { status, isNative: true, isZeroCopy: false, errno: 0 }
    node.maps.ports.setReport(node.uplinkPort, OWNER, report)
  }
  attach(PortStatus.ATTACHED)
  node.controller.netdev.signAlive(node.clock.seconds())
  /** Frames sent within so many seconds. */
  const pass = (seconds: number) => {
    for (; seconds > 0; seconds--) {
      node.clock.advanceSeconds(1)
      announcer.step(node.clock.seconds())
    }
    return sent.splice(0)
  }
  return { node, pass, attach }
}

t.test('an address that is taken over is announced three times, to everybody', async (t) => {
  const { node, pass } = setUp(t)
  t.same(pass(2), [])
  node.controller.netdev.announce(VIP)
  const sent = pass(5)
  t.equal(sent.length, 3)
  t.equal(sent[0]?.device, 'uplink')
  checkPacket(t, sent[0]?.frame as Uint8Array, {
    eth: { from: UPLINK_MAC, to: 'ff:ff:ff:ff:ff:ff' },
    arp: {
      operation: 1,
      senderMac: UPLINK_MAC,
      sender: VIP,
      targetMac: '00:00:00:00:00:00',
      target: VIP,
    },
  })
  node.controller.netdev.announce('203.0.113.81')
  t.equal(pass(5).length, 3, 'only the new one')
  node.controller.netdev.withdraw(VIP)
  node.controller.netdev.signAlive(node.clock.seconds())
  t.equal(pass(2).length, 0)
  node.controller.netdev.announce(VIP)
  t.equal(pass(5).length, 3, 'one that comes back')
})

t.test('nothing is announced by an uplink that is not attached', async (t) => {
  const { node, pass, attach } = setUp(t)
  attach(PortStatus.FAILED)
  node.controller.netdev.announce(VIP)
  t.same(pass(3), [])
  attach(PortStatus.ATTACHED)
  t.equal(pass(5).length, 3)
})

t.test('after a silence of the control plane all addresses are announced again', async (t) => {
  const { node, pass } = setUp(t)
  node.controller.netdev.announce(VIP)
  t.equal(pass(40).length, 3)
  node.controller.netdev.signAlive(node.clock.seconds())
  t.equal(pass(5).length, 3)
})
