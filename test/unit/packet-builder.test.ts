/**
 * The packet builder and the checker: neither is believed without known answers, each is a check of
 * the other.
 */
import t from 'tap'
import { bare, eth, fragmentIpv4, type PacketBuilder } from '../support/packet-builder.js'
import { checkPacket, describe, type ExpectedPacket } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const problems = (builder: PacketBuilder) => parseFrame(builder.bytes()).problems

/** Every kind of frame; `tcpdump -vv` found their lengths and checksums right too. */
const GOOD: readonly (readonly [PacketBuilder, string])[] = [
  [eth().ipv4().udp().payload('hello'), 'IP 10.0.0.1.40000 > 10.0.0.2.53: UDP, length 5'],
  [eth().ipv4().udp().payload('hello').pad(), 'IP 10.0.0.1.40000 > 10.0.0.2.53: UDP, length 5'],
  [eth().ipv4().udp({ checksum: 0 }), 'IP 10.0.0.1.40000 > 10.0.0.2.53: UDP, length 0'],
  [
    eth()
      .ipv4({ options: [148, 4, 0, 0] })
      .tcp({ flags: 'SYN', options: [2, 4, 5, 180] }),
    'IP 10.0.0.1.40000 > 10.0.0.2.80: TCP SYN, seq 1, ack 0, win 65535, length 0',
  ],
  [
    eth().ipv4().icmpEcho({ id: 7 }).payload(9),
    'IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 7, seq 1, length 9',
  ],
  [
    eth()
      .ipv4()
      .icmpError({ quoted: bare().ipv4().udp().payload('abc') }),
    'IP 10.0.0.1 > 10.0.0.2: ICMP type 3 code 3 about ' +
      '(IP 10.0.0.1.40000 > 10.0.0.2.53: UDP, length 3), length 31',
  ],
  [eth().arpRequest(), 'ARP who-has 10.0.0.2 tell 10.0.0.1'],
  [eth().arpReply().pad(), 'ARP 10.0.0.1 is-at 02:00:00:00:00:01'],
  [
    eth().ipv6().tcp().payload(7),
    'IP6 fd00::1.40000 > fd00::2.80: TCP ACK, seq 1, ack 0, win 65535, length 7',
  ],
  [
    eth().ipv6().extension(0).extension(43).fragment6().extension(60).udp().payload(3),
    'IP6 fd00::1.40000 > fd00::2.53: UDP, length 3',
  ],
  [
    eth().ipv6().icmpEcho({ reply: true }).payload(3),
    'IP6 fd00::1 > fd00::2: ICMP echo reply, id 1, seq 1, length 3',
  ],
  [
    eth().ipv6().icmpError({ quoted: bare().ipv6().tcp() }),
    'IP6 fd00::1 > fd00::2: ICMP type 1 code 4 about ' +
      '(IP6 fd00::1.40000 > fd00::2.80: TCP ACK, seq 1, ack 0, win 65535, length 0), length 60',
  ],
]

t.test('good frames of every kind have no problems, and are described', (t) => {
  for (const [builder, text] of GOOD) {
    const link = '02:00:00:00:00:01 > 02:00:00:00:00:02: '
    t.equal(describe(builder.bytes()), link + text)
    checkPacket(t, builder.bytes())
  }
  const tagged = eth().vlan(5).vlan(6).ipv4().udp().bytes()
  t.match(describe(tagged), '02:00:00:00:00:02 vlan 5 vlan 6: IP 10.0.0.1.40000')
  t.end()
})

t.test('a frame typed by hand comes out', (t) => {
  // The header: 4500 + 001e + 4011 + c0a8 + 0001 + c0a8 + 00c7 = 20747, folded 0749, so f8b6.
  // UDP: 9c40 + 0035 + 000a + 6869, the addresses, 0011 and 000a = 2871b, folded 871d, so 78e2.
  const frame = eth({ from: '02:00:00:00:00:0a', to: 'ff:ff:ff:ff:ff:ff' })
    .ipv4({ from: '192.168.0.1', to: '192.168.0.199' })
    .udp({ from: 40000, to: 53 })
    .payload('hi')
  const link = 'ffffffffffff02000000000a0800'
  const ip = '4500001e000000004011f8b6c0a80001c0a800c7'
  t.equal(hex(frame.bytes()), `${link}${ip}9c400035000a78e26869`)
  t.end()
})

t.test('a builder can be the start of several frames', (t) => {
  const start = eth().ipv4()
  const first = start.udp().bytes()
  checkPacket(t, start.tcp().bytes(), { tcp: { to: 80 }, udp: null })
  t.strictSame(start.udp().bytes(), first)
  t.end()
})

t.test('a partial checksum is the folded sum of the pseudo header', (t) => {
  // 0a00 0001 0a00 0002 + 6 + 20 = 141d.
  const packet = parseFrame(eth().ipv4().tcp({ partialChecksum: true }).bytes())
  t.equal(packet.tcp?.checksum, 0x141d)
  t.equal(packet.problems.length, 1)
  t.end()
})

t.test('every wrong length or checksum is a problem', (t) => {
  for (const [builder, text] of [
    [eth().ipv4({ checksum: 1 }).udp(), 'ipv4 checksum'],
    [eth().ipv4().udp({ checksum: 1 }), 'udp checksum'],
    [eth().ipv4().tcp({ checksum: 1 }), 'tcp checksum'],
    [eth().ipv4().icmpEcho({ checksum: 1 }), 'icmp checksum'],
    [eth().ipv6().udp({ checksum: 0 }), 'udp without checksum over ipv6'],
    [eth().ipv6().icmpEcho({ checksum: 1 }), 'icmp checksum'],
    [eth().ipv4({ totalLength: 29 }).udp(), 'ipv4 total length 29 exceeds'],
    [eth().ipv4({ totalLength: 19 }).udp(), 'in the header'],
    [eth().ipv4({ totalLength: 100 }).udp().payload(100), 'bytes behind the packet'],
    [eth().ipv4({ headerWords: 4 }).udp(), 'header length 16'],
    [eth().ipv4({ version: 5 }).udp(), 'version'],
    [eth().ipv4({ ttl: 0 }).udp(), 'ttl is 0'],
    [eth().ipv6({ hopLimit: 0 }).udp(), 'hop limit is 0'],
    [eth().ipv6({ payloadLength: 9 }).udp(), 'payload length 9 exceeds'],
    [eth().ipv6({ version: 4 }).udp(), 'version'],
    [eth().ipv6().extension(60, { length: 9 }).udp(), 'extension header is cut'],
    [eth().ipv4().udp({ length: 9 }), 'udp length 9'],
    [eth().ipv4().udp({ length: 7 }), 'udp length 7'],
    [eth().ipv4().tcp({ dataOffsetWords: 4 }), 'data offset 16'],
    [eth().ipv4().tcp({ dataOffsetWords: 6 }), 'tcp header is cut'],
    [eth().ipv4({ protocol: 6 }).payload(19), 'tcp header is cut'],
    [eth().ipv4({ protocol: 17 }).payload(7), 'udp header is cut'],
    [eth().ipv4({ protocol: 1 }).payload(7), 'icmp header is cut'],
    [
      eth()
        .ipv4()
        .icmpError({ quoted: bare().ipv4({ checksum: 1 }).udp() }),
      'quoted: ipv4 checks',
    ],
    [
      eth()
        .ipv4()
        .icmpError({ quoted: bare().ipv4().udp({ checksum: 1 }) }),
      'quoted: udp checksum',
    ],
    [eth({ type: 0x0806 }).payload(20), 'arp of 20 bytes'],
    [eth({ type: 0x0806 }).payload(28), 'arp word 0'],
    [eth({ type: 0x8100 }).payload(3), 'within a VLAN tag'],
    [eth().ipv4().udp().pad(61), 'bytes behind the packet'],
  ] as const) {
    const found = problems(builder)
    t.ok(
      found.some((problem) => problem.includes(text)),
      `${text}: ${found.join('; ')}`,
    )
  }
  t.end()
})

t.test('any single bit changed in a frame is a problem or a difference', (t) => {
  for (const [builder] of GOOD) {
    const bytes = builder.bytes()
    const before = JSON.stringify(parseFrame(bytes))
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const at = bit >> 3
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7))
      const isSeen = JSON.stringify(parseFrame(bytes)) !== before
      // Reserved bytes of extension headers carry nothing.
      if (!isSeen && parseFrame(bytes).ipv6?.extensions.length === 0) t.fail(`bit ${bit} is unseen`)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7))
    }
  }
  t.end()
})

t.test('every truncation of every frame is a problem, and no exception', (t) => {
  for (const [builder] of GOOD) {
    const bytes = builder.bytes()
    const isPadded = bytes.length === 60
    for (let length = 0; length < bytes.length && !isPadded; length++) {
      const found = parseFrame(bytes.subarray(0, length)).problems.length
      if (found === 0) t.fail(`${length} bytes of ${describe(bytes)}`)
    }
  }
  t.end()
})

t.test('padding that leaks memory is a problem', (t) => {
  const bytes = eth().ipv4().udp().pad(60).bytes()
  bytes[59] = 1
  t.strictSame(parseFrame(bytes).problems, ['padding that is not zero'])
  t.end()
})

t.test('a checker fails for each thing that is not as expected', (t) => {
  const failures: string[] = []
  const asserts = {
    pass: () => true,
    fail: (_: string | undefined, extra: object | undefined) => {
      failures.push(JSON.stringify(extra))
      return false
    },
  }
  const bytes = eth().vlan(5).ipv4({ ttl: 63 }).tcp({ flags: 'SYN' }).payload('x').bytes()
  const good: ExpectedPacket = {
    vlans: [5],
    ipv4: { ttl: 63 },
    udp: null,
    tcp: { flags: 'SYN' },
    payload: 'x',
  }
  const wrong: readonly ExpectedPacket[] = [
    { ...good, vlans: [] },
    { ...good, ipv4: { ttl: 64 } },
    { ...good, ipv4: null },
    { ...good, ipv6: {} },
    { ...good, udp: {} },
    { ...good, tcp: { flags: 'SYN ACK' } },
    { ...good, tcp: { ...good.tcp, from: 1 } },
    { ...good, payload: 'y' },
    { ...good, quoted: {} },
    { ...good, problems: ['tcp checksum'] },
  ]
  checkPacket(asserts, bytes, good)
  t.strictSame(failures, [])
  for (const expected of wrong) checkPacket(asserts, bytes, expected)
  checkPacket(asserts, bytes, eth().vlan(5).ipv4({ ttl: 64 }).tcp({ flags: 'SYN' }).payload('x'))
  checkPacket(asserts, eth().ipv4().udp({ checksum: 1 }).bytes())
  t.equal(failures.length, wrong.length + 2)
  t.match(failures[1], 'ipv4.ttl is 63, wanted 64')
  t.match(failures.at(-1), 'udp checksum 0x0001 should be')
  t.end()
})

t.test('fragments hold the whole payload and are good packets', (t) => {
  const whole = eth().ipv4({ id: 9 }).udp().payload(3000).bytes()
  const fragments = fragmentIpv4(whole, 1500)
  t.equal(fragments.length, 3)
  fragments.forEach((fragment, i) => {
    const flags = i < 2 ? 'MF' : ''
    checkPacket(t, fragment, { ipv4: { id: 9, flags, fragmentOffset: i * 1480, protocol: 17 } })
  })
  const joined = Buffer.concat(fragments.map((fragment) => fragment.subarray(34)))
  t.equal(Buffer.compare(joined, whole.subarray(34)), 0)
  t.match(describe(fragments[1] ?? new Uint8Array(0)), 'fragment 1480+, protocol 17, length 1480')
  t.end()
})

t.test('names of flags that do not exist are refused', (t) => {
  t.throws(() => eth().ipv4().tcp({ flags: 'SYNACK' }).bytes(), /SYNACK is not a TCP flag/)
  t.end()
})
