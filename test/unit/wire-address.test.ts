/** Addresses between text and words. */
import { isIP } from 'node:net'
import t, { type Test } from 'tap'
import { ErrorCode, RingpathError } from '../../src/base/errors.js'
import {
  formatAddress,
  formatCidr,
  formatIpv4,
  formatMac,
  ipv4Words,
  isIpv4Words,
  parseAddress,
  parseCidr,
  parseIpv4,
  parseMac,
} from '../../src/wire/address.js'
import { seededPrng } from '../support/seed.js'

const hexWords = (words: Int32Array) =>
  Array.from(words, (word) => (word >>> 0).toString(16)).join(' ')

function refuses(t: Test, parse: (text: string) => unknown, texts: readonly string[]): void {
  for (const text of texts) {
    try {
      parse(text)
      t.fail(`took ${text}`)
    } catch (error) {
      t.ok(error instanceof RingpathError && error.code === ErrorCode.WIRE_ADDRESS)
      const message = error instanceof Error ? error.message : ''
      t.ok(message.includes(JSON.stringify(text)) && message.includes('such as'), message)
    }
  }
}

t.test('IPv4 text is an int32 and back', (t) => {
  for (const [text, value] of [
    ['0.0.0.0', 0],
    ['10.0.0.1', 0x0a000001],
    ['127.255.255.255', 0x7fffffff],
    ['128.0.0.0', 0x80000000 | 0],
    ['255.255.255.255', -1],
  ] as const) {
    t.equal(parseIpv4(text), value)
    t.equal(formatIpv4(value), text)
    t.strictSame(parseAddress(text), ipv4Words(value))
    t.equal(formatAddress(ipv4Words(value)), text)
  }
  t.end()
})

t.test('IPv6 text is four words', (t) => {
  for (const [text, words] of [
    ['::', '0 0 0 0'],
    ['::1', '0 0 0 1'],
    ['1::', '10000 0 0 0'],
    ['2001:db8::1', '20010db8 0 0 1'],
    ['1:2:3:4:5:6:7:8', '10002 30004 50006 70008'],
    ['1:2:3:4:5:6:7::', '10002 30004 50006 70000'],
    ['::2:3:4:5:6:7:8', '2 30004 50006 70008'],
    ['FE80::ABCD', 'fe800000 0 0 abcd'],
    ['64:ff9b::192.0.2.33', '64ff9b 0 0 c0000221'],
    ['1:2:3:4:5:6:1.2.3.4', '10002 30004 50006 1020304'],
    ['::ffff:10.0.0.1', '0 0 ffff a000001'],
  ] as const) {
    t.equal(hexWords(parseAddress(text)), words, text)
  }
  t.end()
})

t.test('IPv6 is printed as RFC 5952 asks', (t) => {
  for (const [text, canonical] of [
    ['2001:0DB8:0000:0000:0000:0000:0002:0001', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['0:0:1:0:0:0:0:0', '0:0:1::'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::fffe:10.0.0.1', '::fffe:a00:1'],
    ['::10.0.0.1', '::a00:1'],
  ] as const) {
    t.equal(formatAddress(parseAddress(text)), canonical, text)
  }
  t.end()
})

t.test('random words survive text', (t) => {
  const prng = seededPrng(t)
  for (let i = 0; i < 5000; i++) {
    const words = new Int32Array(6)
    // Zero groups are likely, so that every place of `::` comes up.
    for (let at = 1; at < 5; at++) {
      const mask = (prng.chance(0.5) ? 0xffff : 0) | (prng.chance(0.5) ? 0xffff0000 : 0)
      words[at] = prng.nextInt32() & mask
    }
    const text = formatAddress(words, 1)
    const isBack = isIP(text) > 0 && hexWords(parseAddress(text)) === hexWords(words.subarray(1, 5))
    if (!isBack) t.fail(`${text} is not ${hexWords(words)}`)
  }
  t.end()
})

t.test('IPv4 in the words is recognised', (t) => {
  t.ok(isIpv4Words(parseAddress('10.0.0.1')))
  t.ok(isIpv4Words(Int32Array.of(9, 0, 0, 0xffff, 5), 1))
  t.notOk(isIpv4Words(parseAddress('::1')))
  t.notOk(isIpv4Words(parseAddress('1::ffff:0:0')))
  t.end()
})

t.test('what is not an address is refused by name', (t) => {
  const neither = ['', 'x', '1.2.3', '1.2.3.4.5', '1.2.3.256', '01.2.3.4', ' 1.2.3.4', '1.2.3.4/8']
  refuses(t, parseIpv4, [...neither, '::1', '0x7f.1'])
  refuses(t, parseAddress, [...neither, ':::', '1::2::3', '1:2:3:4:5:6:7', 'fe80::1%eth0', 'g::'])
  t.end()
})

t.test('a CIDR is words and a prefix of 128 bits', (t) => {
  for (const [text, words, prefixBits, canonical] of [
    ['10.1.2.3/8', '0 0 ffff a000000', 104, '10.0.0.0/8'],
    ['10.1.2.3/32', '0 0 ffff a010203', 128, '10.1.2.3/32'],
    ['10.1.2.3', '0 0 ffff a010203', 128, '10.1.2.3/32'],
    ['255.255.255.255/31', '0 0 ffff fffffffe', 127, '255.255.255.254/31'],
    ['0.0.0.0/0', '0 0 ffff 0', 96, '0.0.0.0/0'],
    ['9.9.9.9/0', '0 0 ffff 0', 96, '0.0.0.0/0'],
    ['::/0', '0 0 0 0', 0, '::/0'],
    ['fd00:1:2:3:4::/64', 'fd000001 20003 0 0', 64, 'fd00:1:2:3::/64'],
    ['ffff:ffff:ffff::/33', 'ffffffff 80000000 0 0', 33, 'ffff:ffff:8000::/33'],
    ['2001:db8::1', '20010db8 0 0 1', 128, '2001:db8::1/128'],
    ['::ffff:0:0/90', '0 0 ffc0 0', 90, '::ffc0:0:0/90'],
  ] as const) {
    const cidr = parseCidr(text)
    t.equal(hexWords(cidr.words), words, text)
    t.equal(cidr.prefixBits, prefixBits)
    t.equal(formatCidr(cidr), canonical)
  }
  t.equal(formatCidr({ words: Int32Array.of(0, 0, 0xffff, 0), prefixBits: 95 }), '::ffff:0:0/95')
  t.end()
})

t.test('what is not a CIDR is refused by name', (t) => {
  refuses(t, parseCidr, [
    ...['10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '10.0.0.0/08', '10.0.0.0/8/8', '10.0.0.0/a'],
    ...['::/129', 'fe80::1%eth0/64', '/8', '', '10.0.0/8', '10.0.0.0/8 '],
  ])
  t.end()
})

t.test('a MAC address is two numbers and back', (t) => {
  t.strictSame(parseMac('02:AA:bb:cc:0d:0e'), { high: 0x02aabbcc, low: 0x0d0e })
  t.strictSame(parseMac('ff:ff:ff:ff:ff:ff'), { high: -1, low: 0xffff })
  t.equal(formatMac(0x02aabbcc, 0x0d0e), '02:aa:bb:cc:0d:0e')
  t.equal(formatMac(-1, 0xffff), 'ff:ff:ff:ff:ff:ff')
  t.equal(formatMac(0, 1), '00:00:00:00:00:01')
  refuses(t, parseMac, ['', '02:00:00:00:00', '02-00-00-00-00-01', '2:0:0:0:0:1', '020000000001'])
  refuses(t, parseMac, ['02:00:00:00:00:01:02', '02:00:00:00:00:0g'])
  t.end()
})
