/** Messages that a kernel 6.18 sent, read; and the same ones cut short and damaged. */
import t from 'tap'
import { buildMessage, messagesIn } from '../../src/routing/netlink/message.js'
import { MessageType } from '../../src/routing/netlink/numbers.js'
import {
  readAddress,
  readLink,
  readNeighbour,
  readRoute,
  readRule,
} from '../../src/routing/netlink/objects.js'
import { useNeighbourRequest } from '../../src/routing/netlink/requests.js'
import { parseIpv4, parseMac } from '../../src/wire/address.js'
import { seededPrng } from '../support/seed.js'

/** By what `ip` was told. */
const CAPTURED = {
  'addr 192.0.2.11/24 dev 3, the second one':
    '500000001400020016000000f7630000021881000300000008000100c000020b08000200c000020b09000300' +
    '7270783000000000080008008100000014000600ffffffffffffffff82f6120082f61200',
  'addr 198.51.100.1 peer 198.51.100.2 dev 2':
    '500000001400020016000000f7630000022080000200000008000100c633640208000200c633640109000300' +
    '7270783100000000080008008000000014000600ffffffffffffffff82f6120082f61200',
  'default via 192.0.2.1 dev 3 mtu 1400 metric 100':
    '48000000180002001a000000f763000002000000fe0300010000000008000f00fe0000000800060064000000' +
    '0c000800080002007805000008000500c00002010800040003000000',
  '203.0.113.0/24 src 192.0.2.11 via 192.0.2.1 dev 3 weight 3, dev 2':
    '50000000180002001a000000f763000002180000fe0300010000000008000f00fe00000008000100cb007100' +
    '08000700c000020b1c000900100000020300000008000500c00002010800000002000000',
  'blackhole 10.1.0.0/16':
    '2c000000180002001a000000f763000002100000fe0300060000000008000f00fe000000080001000a010000',
  '10.2.0.0/16 via inet6 fe80::1 dev 3':
    '4c000000180002001a000000f763000002100000fe0300010000000008000f00fe000000080001000a020000' +
    '160012000a00fe80000000000000000000000000000100000800040003000000',
  '10.3.0.0/16 tos 0x10 via 192.0.2.2 dev 3':
    '3c000000180002001a000000f763000002100010fe0300010000000008000f00fe000000080001000a030000' +
    '08000500c00002020800040003000000',
  'neigh 192.0.2.1 lladdr 02:aa:bb:cc:dd:ee dev 3 permanent':
    '4c0000001c0002001e000000f763000002000000030000008000000108000100c00002010a00020002aabbcc' +
    'ddee00000800040000000000140003000e0000000e0000000e00000000000000',
  'neigh 192.0.2.2 dev 3 failed':
    '400000001c0002001e000000f763000002000000030000002000000108000100c00002020800040000000000' +
    '140003007e1700000e0000000e00000000000000',
  'rule lookup 1000 pref 80':
    '3c0000002000020022000000f763000002000000fc0000010000000008000f00e803000008000e00ffffffff' +
    '05001500000000000800060050000000',
  'rule fwmark 7 lookup 100 pref 50':
    '4c0000002000020022000000f763000002000000640000010000000008000f006400000008000e00ffffffff' +
    '0500150000000000080006003200000008000a000700000008001000ffffffff',
  'rule from 10.0.0.0/8 lookup 100 pref 60':
    '440000002000020022000000f763000002000800640000010000000008000f006400000008000e00ffffffff' +
    '0500150000000000080006003c000000080002000a000000',
  'rule iif lo lookup 100 pref 70':
    '440000002000020022000000f763000002000000640000010000000008000f006400000008000e00ffffffff' +
    '0500150000000000070003006c6f00000800060046000000',
  'rule lookup main suppress_prefixlength 0 pref 90':
    '3c0000002000020022000000f763000002000000fe0000010000000008000f00fe00000008000e0000000000' +
    '0500150000000000080006005a000000',
  'rule not fwmark 8 lookup 1000 pref 95':
    '4c0000002000020022000000f763000002000000fc0000010200000008000f00e803000008000e00ffffffff' +
    '0500150000000000080006005f00000008000a000800000008001000ffffffff',
} as const
type Name = keyof typeof CAPTURED

const bytesOf = (name: Name) => new Uint8Array(Buffer.from(CAPTURED[name], 'hex'))
const bodyOf = (bytes: Uint8Array) =>
  [...messagesIn(bytes)][0]?.body ?? new DataView(new ArrayBuffer(0))
const body = (name: Name) => bodyOf(bytesOf(name))
const ip = parseIpv4

const READERS = [readLink, readAddress, readRoute, readNeighbour, readRule]

t.test('addresses: the node’s own, not its peer’s; secondary ones are marked', async (t) => {
  t.same(readAddress(body('addr 192.0.2.11/24 dev 3, the second one')), {
    linkIndex: 3,
    address: ip('192.0.2.11'),
    prefixLength: 24,
    scope: 0,
    isSecondary: true,
  })
  t.match(readAddress(body('addr 198.51.100.1 peer 198.51.100.2 dev 2')), {
    linkIndex: 2,
    address: ip('198.51.100.1'),
    prefixLength: 32,
    isSecondary: false,
  })
})

t.test('a route with gateway, metric and MTU', async (t) => {
  t.same(readRoute(body('default via 192.0.2.1 dev 3 mtu 1400 metric 100')), {
    table: 254,
    destination: 0,
    prefixLength: 0,
    typeOfService: 0,
    metric: 100,
    type: 1,
    hops: [{ linkIndex: 3, gateway: ip('192.0.2.1'), weight: 1, flags: 0, isForeign: false }],
    preferredSource: 0,
    mtuBytes: 1400,
  })
})

t.test('a route with several next hops has their weights', async (t) => {
  const route = readRoute(body('203.0.113.0/24 src 192.0.2.11 via 192.0.2.1 dev 3 weight 3, dev 2'))
  t.equal(route?.preferredSource, ip('192.0.2.11'))
  t.same(route?.hops, [
    { linkIndex: 3, gateway: ip('192.0.2.1'), weight: 3, flags: 0, isForeign: false },
    { linkIndex: 2, gateway: 0, weight: 1, flags: 0, isForeign: false },
  ])
})

t.test('routes of other kinds', async (t) => {
  t.match(readRoute(body('blackhole 10.1.0.0/16')), { type: 6, hops: [], prefixLength: 16 })
  const foreign = readRoute(body('10.2.0.0/16 via inet6 fe80::1 dev 3'))
  t.match(foreign?.hops, [{ linkIndex: 3, gateway: 0, isForeign: true }])
  t.equal(readRoute(body('10.3.0.0/16 tos 0x10 via 192.0.2.2 dev 3'))?.typeOfService, 0x10)
})

t.test('neighbours, found and failed', async (t) => {
  t.same(readNeighbour(body('neigh 192.0.2.1 lladdr 02:aa:bb:cc:dd:ee dev 3 permanent')), {
    linkIndex: 3,
    address: ip('192.0.2.1'),
    state: 0x80,
    mac: parseMac('02:aa:bb:cc:dd:ee'),
  })
  t.match(readNeighbour(body('neigh 192.0.2.2 dev 3 failed')), { state: 0x20, mac: null })
})

t.test('rules: which lead everybody to a table, and which cannot concern us', async (t) => {
  const rule = (name: Name) => readRule(body(name))
  t.same(rule('rule lookup 1000 pref 80'), {
    priority: 80,
    table: 1000,
    isPlain: true,
    isForeign: false,
  })
  t.match(rule('rule fwmark 7 lookup 100 pref 50'), { isPlain: false, isForeign: true })
  t.match(rule('rule iif lo lookup 100 pref 70'), { isPlain: false, isForeign: true })
  for (const name of [
    'rule from 10.0.0.0/8 lookup 100 pref 60',
    'rule lookup main suppress_prefixlength 0 pref 90',
    'rule not fwmark 8 lookup 1000 pref 95',
  ] as const) {
    t.match(rule(name), { isPlain: false, isForeign: false }, name)
  }
})

t.test('several messages in one datagram', async (t) => {
  const first = bytesOf('blackhole 10.1.0.0/16')
  const second = bytesOf('default via 192.0.2.1 dev 3 mtu 1400 metric 100')
  const both = Buffer.concat([first, second])
  t.same(
    [...messagesIn(both)].map((message) => readRoute(message.body)?.prefixLength),
    [16, 0],
  )
})

t.test(
  'cut short at any length, a message is not there or says less; nothing throws',
  async (t) => {
    for (const name of Object.keys(CAPTURED) as Name[]) {
      const whole = bytesOf(name)
      for (let length = 0; length < whole.length; length++) {
        const cut = whole.slice(0, length)
        if ([...messagesIn(cut)].length !== 0) t.fail(`${name}, ${length} bytes: a message`)
        if (length < 16) continue
        new DataView(cut.buffer).setUint32(0, length, true)
        for (const read of READERS) read(bodyOf(cut))
      }
    }
  },
)

t.test('cut short within an attribute, a message is passed over', async (t) => {
  const whole = bytesOf('default via 192.0.2.1 dev 3 mtu 1400 metric 100')
  // The header of the last attribute (eight bytes, the device) is there, its value is not.
  const cut = whole.slice(0, -4)
  new DataView(cut.buffer).setUint32(0, cut.length, true)
  t.equal(readRoute(bodyOf(cut)), null)
})

t.test('damaged bytes make another message or none; nothing throws', async (t) => {
  const prng = seededPrng(t)
  for (const name of Object.keys(CAPTURED) as Name[]) {
    for (let round = 0; round < 300; round++) {
      const damaged = bytesOf(name)
      for (let count = 1 + prng.below(4); count > 0; count--) {
        damaged[prng.below(damaged.length)] = prng.below(256)
      }
      for (const message of messagesIn(damaged)) for (const read of READERS) read(message.body)
    }
  }
})

t.test('other families are passed over', async (t) => {
  for (const name of Object.keys(CAPTURED) as Name[]) {
    const bytes = bytesOf(name)
    bytes[16] = 10
    for (const read of READERS) t.equal(read(bodyOf(bytes)), null)
  }
})

t.test('a link has its name, MTU and whether it is up', async (t) => {
  const link = new Uint8Array(16)
  const view = new DataView(link.buffer)
  view.setInt32(4, 3, true)
  view.setUint32(8, 0x1043, true)
  const message = buildMessage(MessageType.NEW_LINK, 0, 1, link, [
    [3, new Uint8Array(Buffer.from('rpx0\0'))],
    [4, Uint8Array.of(0xdc, 5, 0, 0)],
  ])
  t.same(readLink(bodyOf(message)), { index: 3, name: 'rpx0', mtuBytes: 1500, isUp: true })
})

t.test('a request for a neighbour is one that reads back', async (t) => {
  const request = useNeighbourRequest(3, ip('192.0.2.1'), 7)
  const [message] = [...messagesIn(request)]
  t.match(message, { type: MessageType.NEW_NEIGHBOUR, flags: 0x401, sequence: 7 })
  t.match(readNeighbour(bodyOf(request)), { linkIndex: 3, address: ip('192.0.2.1'), mac: null })
})
