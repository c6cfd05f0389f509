/**
 * The judging test of explanation: drops of a dozen causes, made by real programs on a node at work. For
 * each the command line alone has to name the cause, what was responsible for it, and what to do.
 */
import t from 'tap'
import type { Namespace } from '../../src/lab/lab.js'
import type { Flow } from '../../src/observe/flow.js'
import { LiveAgent } from '../support/live-agent.js'

const UPLINK = { device: 'uplink', address: '192.0.2.2' }
const OUTSIDE = '192.0.2.1'

const live = await LiveAgent.create('why', {
  spec: `uplinks: [{ device: ${UPLINK.device}, address: ${UPLINK.address} }]
masquerade: { enabled: true, ports: { low: 40000, high: 40001 } }
serviceCidrs: [10.96.0.0/12]
`,
})
t.after(() => live.close())
const { lab, node } = live
const outside = await lab.namespace('outside')
await lab.link({
  a: { ns: node, device: UPLINK.device, address: `${UPLINK.address}/24` },
  b: { ns: outside, device: 'eth0', address: `${OUTSIDE}/24` },
})
await lab.ip(node, [`route add default via ${OUTSIDE}`])
await lab.ip(outside, [`route add 203.0.113.7/32 via ${UPLINK.address}`])
const client = await live.pod('client', '10.0.1.1')
const server = await live.pod('server', '10.0.1.2')
const slow = await live.pod('slow', '10.0.1.3')
const endpoint = (name: string, pod: typeof slow, more: string): string => `---
apiVersion: ringpath.io/v1
kind: Endpoint
metadata: { name: ${name}, labels: { app: ${name} } }
spec: { device: ${pod.device}, address: ${pod.address}, mac: "${pod.podMac}", ${more} }
`
live.manifest(
  'endpoint-slow.yaml',
  endpoint('slow', slow, 'bandwidth: { egressBitsPerSecond: 80000 }'),
)
live.manifest(
  'policies.yaml',
  `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web-only }
spec:
  podSelector: { matchLabels: { app: server } }
  ingress: [{ ports: [{ port: 8080 }] }]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: no-admin }
spec:
  endpointSelector: { matchLabels: { app: server } }
  ingressDeny:
    - fromEndpoints: [{ matchLabels: { app: client } }]
      toPorts: [{ ports: [{ port: "9000", protocol: TCP }] }]
---
apiVersion: cilium.io/v2
kind: CiliumEgressGatewayPolicy
metadata: { name: by-edge }
spec:
  selectors: [{ podSelector: { matchLabels: { app: client } } }]
  destinationCIDRs: [198.51.100.0/24]
  egressGateway: { nodeSelector: { matchLabels: { role: edge } }, egressIP: 192.0.2.9 }
---
apiVersion: ringpath.io/v1
kind: Peer
metadata: { name: edge, labels: { role: edge } }
spec: { address: 192.0.2.9, podCidrs: [10.0.2.0/24] }
`,
)
live.manifest(
  'services.yaml',
  `apiVersion: v1
kind: Service
metadata: { name: empty }
spec: { clusterIP: 10.96.0.20, selector: { app: nobody }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: guarded }
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.30
  selector: { app: server }
  ports: [{ port: 80, targetPort: 8080 }]
  loadBalancerSourceRanges: [198.51.100.0/28]
status: { loadBalancer: { ingress: [{ ip: 203.0.113.7 }] } }
`,
)
await lab.ip(client, ['address add 10.9.9.9/32 dev lo'])
await live.start()

const python = (from: Namespace, ...lines: string[]): Promise<unknown> =>
  lab.exec(from, 'python3', ['-c', ['import socket, struct, time', ...lines].join('\n')])
const knock = (from: Namespace, address: string, port: number): Promise<unknown> =>
  lab.exec(from, 'nc', ['-z', '-w', '1', address, `${port}`])
const pingOnce = (from: Namespace, ...args: string[]): Promise<unknown> =>
  lab.exec(from, 'ping', ['-c', '1', '-W', '1', ...args])

/** What was done to have it, and what the answer of `ringpath why` has to say of it. */
interface Case {
  readonly cause: string
  readonly reason: string
  readonly code: number
  readonly by: () => Promise<unknown>
  readonly because: RegExp
  readonly remedy: RegExp
}

const CASES: readonly Case[] = [
  {
    cause: 'no rule of a policy allows it',
    reason: 'POLICY_DENIED',
    code: 133,
    by: () => knock(client, server.address, 81),
    because:
      /default\/server is closed by .*\/web-only.*; no rule allows TCP port 81 from .*client/,
    remedy: /allow it: a rule for ingress of default\/server that selects .*=client.* TCP port 81/,
  },
  {
    cause: 'a deny rule matches',
    reason: 'POLICY_DENY',
    code: 181,
    by: () => knock(client, server.address, 9000),
    because:
      /CiliumNetworkPolicy default\/no-admin.* denies TCP port 9000 from default\/client .*server/,
    remedy: /out of the ingressDeny of CiliumNetworkPolicy default\/no-admin/,
  },
  {
    cause: 'a service without backends',
    reason: 'NO_SERVICE_BACKEND',
    code: 158,
    by: () => knock(client, '10.96.0.20', 80),
    because: /service default\/empty.* \(ClusterIP 10.96.0.20:80\/TCP\) has no backend .*none/,
    remedy: /give it one: endpoints that its selector matches/,
  },
  {
    cause: 'a source that is not the pod’s',
    reason: 'INVALID_SOURCE_IP',
    code: 132,
    by: () => pingOnce(client, '-I', '10.9.9.9', server.address),
    because: /default\/client \(device .*\) has the address 10.0.1.1 and sent from 10.9.9.9/,
    remedy: /correct spec.address of Endpoint default\/client/,
  },
  {
    cause: 'a protocol that is not carried',
    reason: 'CT_UNKNOWN_L4',
    code: 137,
    by: () =>
      python(
        client,
        's = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47)',
        `s.sendto(b"\\0\\0\\x08\\0" + bytes(40), ("${server.address}", 0))`,
      ),
    because: /default\/client sent IP protocol 47 \(GRE\); TCP, UDP, ICMP and SCTP are carried/,
    remedy: /carry it in UDP/,
  },
  {
    cause: 'a network layer that is not carried',
    reason: 'UNSUPPORTED_L3',
    code: 139,
    by: () =>
      python(
        client,
        's = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)',
        's.bind(("eth0", 0))',
        's.send(b"\\xff" * 6 + b"\\x02\\0\\0\\0\\0\\1" + b"\\x86\\xdd" + b"\\x60" + bytes(60))',
      ),
    because: /default\/client sent IPv6; IPv4 and ARP are carried/,
    remedy: /disable_ipv6=1/,
  },
  {
    cause: 'a TTL that ends here',
    reason: 'TTL_EXCEEDED',
    code: 196,
    by: () => pingOnce(client, '-t', '1', slow.address),
    because: /it came from default\/client with a TTL of 1, and this node is a hop/,
    remedy: /expected of traceroute; else raise the sender’s TTL/,
  },
  {
    cause: 'a fragment without its first part',
    reason: 'FRAGMENT_NOT_FOUND',
    code: 175,
    by: () =>
      python(
        client,
        's = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)',
        'h = struct.pack("!BBHHHBBH4s4s", 69, 0, 120, 4711, 185, 64, 17, 0,',
        `  socket.inet_aton("${client.address}"), socket.inet_aton("${slow.address}"))`,
        `s.sendto(h + bytes(100), ("${slow.address}", 0))`,
      ),
    because: /the part from byte 1480 on of datagram 4711 of 10.0.1.1, whose first part/,
    remedy: /look for the first part at its sender/,
  },
  {
    cause: 'no port left for the NAT',
    reason: 'NAT_NO_MAPPING',
    code: 167,
    by: () =>
      python(
        slow,
        's = [socket.socket() for _ in range(3)]',
        'for one in s: one.setblocking(False)',
        `for one in s: one.connect_ex(("${OUTSIDE}", 7000))`,
        'time.sleep(0.5)',
      ),
    because:
      /of the 2 ports .*\(spec.masquerade.ports of the Node\) .*2 are in use toward 192.0.2.1:7000/,
    remedy: /widen spec.masquerade.ports/,
  },
  {
    cause: 'a limit of bandwidth',
    reason: 'EDT_HORIZON',
    code: 162,
    by: () =>
      python(
        slow,
        's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
        `for _ in range(1500): s.sendto(bytes(1000), ("${client.address}", 9))`,
      ),
    because: /default\/slow sent more than 80000 bits per second: spec.bandwidth.egress.* default/,
    remedy: /raise spec.bandwidth.egressBitsPerSecond/,
  },
  {
    cause: 'a way through a tunnel that is off',
    reason: 'NO_TUNNEL_ENDPOINT',
    code: 160,
    by: () => knock(client, '198.51.100.9', 80),
    because: /198.51.100.9.* needs the tunnel, which is off .*\(spec.tunnel.mode: native\)/,
    remedy: /set spec.tunnel.mode: tunnel in the Node document/,
  },
  {
    cause: 'a client outside of the source ranges',
    reason: 'NOT_IN_SOURCE_RANGE',
    code: 177,
    by: () => knock(outside, '203.0.113.7', 80),
    because:
      /192.0.2.1 is in none of the loadBalancerSourceRanges of service default\/guarded.*203/,
    remedy: /add a prefix with 192.0.2.1 to spec.loadBalancerSourceRanges/,
  },
]

async function lastDrop(reason: string): Promise<Flow | undefined> {
  const { stdout } = await live.cli('drops', '--reason', reason, '-n', '1', '-o', 'json')
  return stdout === '' ? undefined : (JSON.parse(stdout) as Flow)
}

for (const { cause, reason, code, by, because, remedy } of CASES) {
  t.test(`explained: ${cause}`, async (t) => {
    let drop: Flow | undefined
    await by()
    await live.until(reason, async () => {
      drop = await lastDrop(reason)
      return drop !== undefined
    })
    t.equal(drop?.dropCode, code)
    const { stdout } = await live.cli('why', `${drop?.id}`)
    t.comment(stdout)
    t.match(stdout, new RegExp(`dropped with ${code} ${reason}`))
    t.match(/^because: .*$/m.exec(stdout)?.[0], because)
    t.match(/^to do: .*$/m.exec(stdout)?.[0], remedy)
  })
}

t.test('trace says the same before anything is sent', async (t) => {
  const denied = await live.cli('trace', '--in', 'client', '--to', 'server:9000')
  t.match(denied, { code: 5, stdout: /because: .*CiliumNetworkPolicy default\/no-admin/ })
  const empty = await live.cli('trace', '--in', 'client', '--to', '10.96.0.20:80')
  t.match(empty, { code: 5, stdout: /because: service default\/empty/ })
})

t.test('drops lists every cause with its count and meaning', async (t) => {
  const { stdout } = await live.cli('drops', '-n', '0')
  for (const { reason, code } of CASES) {
    t.match(stdout, new RegExp(`^ *\\d+ +${code} +${reason} `, 'm'), reason)
  }
})

t.end()
