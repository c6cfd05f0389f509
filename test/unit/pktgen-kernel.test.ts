/** The kernel's own pktgen: what is written to it, and what its files say. */
import t from 'tap'
import { parsePktgenResult, pktgenWrites } from '../../src/pktgen/pktgen-control.js'
import { parseRate } from '../../src/pktgen/rate.js'
import type { SendOptions } from '../../src/pktgen/sender.js'
import { parseSizes } from '../../src/pktgen/size-mix.js'

const OPTIONS: SendOptions = {
  device: 'v0',
  queue: 1,
  spec: {
    mode: 'udp',
    sourceMac: '02:00:00:00:00:01',
    destinationMac: '02:00:00:00:00:02',
    vlan: 5,
    sources: { first: 0x0a000001, count: 1 },
    destinations: { first: 0xc8000001, count: 2 },
    sourcePorts: { first: 1024, count: 64_512 },
    destinationPorts: { first: 9, count: 1 },
    flows: 4,
    sizes: parseSizes('100'),
    rate: parseRate('5k'),
    frames: 1000,
    seconds: 0,
    hasTimestamps: true,
    hasUdpChecksum: true,
    framesPerConnection: 3,
  },
}

t.test('a spec becomes the lines that the kernel takes, thread and device first', async (t) => {
  const writes = pktgenWrites(OPTIONS, 1).map(({ file, text }) => `${file}: ${text}`)
  t.same(writes.slice(0, 3), ['pgctrl: reset', 'kpktgend_1: add_device v0@1', 'v0@1: count 1000'])
  for (const line of [
    'pkt_size 100',
    'ratep 5000',
    'dst_mac 02:00:00:00:00:02',
    'src_min 10.0.0.1',
    'src_max 10.0.0.1',
    'dst_max 200.0.0.2',
    'udp_src_min 1024',
    'udp_src_max 1028',
    'udp_dst_max 10',
    'queue_map_min 1',
    'vlan_id 5',
    'flag UDPCSUM',
  ]) {
    t.ok(writes.includes(`v0@1: ${line}`), line)
  }
})

t.test('what it cannot send is refused by name', async (t) => {
  const refuses = (change: Partial<SendOptions['spec']>, message: RegExp) =>
    t.throws(() => pktgenWrites({ ...OPTIONS, spec: { ...OPTIONS.spec, ...change } }, 0), {
      message,
    })
  refuses({ mode: 'syn' }, /^mode: "syn", expected udp/)
  refuses({ sizes: parseSizes('imix') }, /^size: /)
  refuses({ flows: 100_000 }, /^flows: /)
})

// As Linux 6.12 says it.
const DONE = `Params: count 1000  min_pkt_size: 100  max_pkt_size: 100
     frags: 0  delay: 199680  clone_skb: 0  ifname: v0@0
     flows: 0 flowlen: 0
     queue_map_min: 0  queue_map_max: 0
     dst_min: 10.0.0.2  dst_max: 10.0.0.2
     src_min: 10.0.0.1  src_max: 10.0.0.1
     Flags: UDPSRC_RND  UDPCSUM
Current:
     pkts-sofar: 1000  errors: 3
     started: 1043823us  stopped: 1243844us idle: 176330us
     seq_num: 1001  cur_dst_mac_offset: 0  cur_src_mac_offset: 0
     flows: 0
Result: OK: 200020(c23690+d176330) usec, 1000 (100byte,0frags)
  4999pps 3Mb/sec (3999200bps) errors: 3
`

t.test('a result is read; one that is not there yet is nothing', async (t) => {
  t.same(parsePktgenResult(DONE), {
    frames: 1000,
    bytes: 100_000,
    microseconds: 200_020,
    errors: 3,
  })
  t.same(parsePktgenResult('Result: Idle\n'), { frames: 0, bytes: 0, microseconds: 0, errors: 0 })
  const refused = 'Result: Error: unknown interface\n'
  t.throws(() => parsePktgenResult(refused), { message: /unknown interface/ })
})
