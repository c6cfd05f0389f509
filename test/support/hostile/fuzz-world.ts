/** Nodes for the fuzzer: all that a node can be at once, some of it by chance, and changes while frames fly. */
import type { Prng } from '../../../src/base/prng.js'
import { type LoadedScenario, mergeNodes } from '../scenario/load.js'
import { MemoryWorld } from '../scenario/memory-world.js'
import { runScenario } from '../scenario/run.js'
import type { NodeSpec, PolicySpec, ServiceRecord } from '../scenario/types.js'
import { CANARIES } from './corpus.js'
import type { FuzzFrame } from './fuzz.js'

const PODS = ['pod1', 'pod2', 'pod3', 'pod4'] as const
const VIP = '10.96.0.10'
const FAR = '203.0.113.50'

/** Addresses that frames are from and to, beside those of ports. */
export const FUZZ_ADDRESSES: readonly string[] = [
  VIP,
  FAR,
  '198.51.100.1',
  '198.51.100.80',
  '169.254.42.1',
  '10.0.2.1',
  '10.0.2.9',
  '192.0.2.3',
  '192.0.2.88',
  '224.0.0.1',
  '255.255.255.255',
  '0.0.0.0',
  '127.0.0.1',
]

const FIXED: NodeSpec = {
  pods: [...PODS, ...CANARIES],
  uplink: true,
  names: { vip: VIP, far: FAR },
  peers: [{ name: 'node2', address: '192.0.2.3', podCidrs: ['10.0.2.0/24'] }],
  remotes: [{ prefix: '10.0.2.1/32', identity: 601, tunnelEndpoint: '192.0.2.3' }],
  neighbours: { '192.0.2.3': '02:00:00:00:fe:03' },
  settings: { connections: 1024 },
  routes: [
    { prefix: '203.0.113.0/24', gateway: '192.0.2.3' },
    { prefix: '198.18.0.0/15', kind: 'unreachable' },
    { prefix: '198.51.100.0/24', gateway: '192.0.2.1', mtuBytes: 1000 },
  ],
}

const EGRESS_RULES = [
  {
    sources: ['pod4', '10.0.2.9'],
    destinations: ['198.51.100.0/24'],
    gateway: '192.0.2.3',
    egressAddress: '192.0.2.3',
  },
  {
    sources: ['10.0.2.1'],
    destinations: ['198.51.100.0/24'],
    excluded: ['198.51.100.80/32'],
    gateway: 'uplink',
    egressAddress: 'uplink',
  },
] as const

export async function fuzzWorld(prng: Prng): Promise<MemoryWorld> {
  const chance: NodeSpec = {
    tunnel: { mode: prng.below(3) === 0 ? 'native' : 'tunnel' },
    masquerade: {
      enabled: prng.below(4) !== 0,
      ...(prng.below(3) === 0 ? { ports: { low: 40_000, high: 40_003 } } : {}),
    },
    announced: ['198.51.100.80'],
    agentAlive: prng.below(2) === 0,
    deniedSources: prng.below(3) === 0 ? ['203.0.113.0/26'] : [],
    allowedVlans: [7],
    egressRules: prng.below(2) === 0 ? EGRESS_RULES : [],
    settings: {
      hostFirewall: prng.below(3) === 0,
      noBackendResponse: prng.below(2) === 0 ? 'drop' : 'reject',
      policyDenyResponse: (['none', 'icmp', 'reset'] as const)[prng.below(3)] ?? 'none',
      loopback: prng.below(4) === 0 ? 'pod' : '169.254.42.1',
      answersPerSecond: 1000,
      answersBurst: 1000,
      externalClusterIp: prng.below(2) === 0,
    },
  }
  const world = await MemoryWorld.create(mergeNodes(FIXED, chance), prng.nextInt32())
  for (let i = 0; i < 4; i++) await world.configure(randomChange(prng))
  return world
}

/** A new policy, or other backends. Canaries are left alone. */
export function randomChange(prng: Prng): NodeSpec {
  const pod = [...PODS, 'host'][prng.below(PODS.length + 1)] ?? 'pod1'
  if (prng.below(2) === 0) return { policies: { [pod]: randomPolicy(prng) } }
  return { services: randomServices(prng) }
}

function randomPolicy(prng: Prng): PolicySpec {
  const rules = [
    { identities: ['pod1', 'world'] },
    { ports: [{ protocol: 'TCP', port: 80, lastPort: 8080 }] },
    { ports: [{ protocol: 'UDP' }] },
    { action: 'deny', identities: ['pod3'] },
    {},
  ] as const
  const some = () => rules.filter(() => prng.below(3) === 0)
  const policies: PolicySpec[] = [{}, { ingress: some() }, { egress: some() }]
  return policies[prng.below(policies.length)] ?? {}
}

function randomServices(prng: Prng): ServiceRecord[] {
  const all = [
    { address: 'pod1', port: 8080 },
    { address: 'pod2', port: 8080 },
    { address: 'far', port: 8080 },
    { address: '10.0.2.1', port: 8080 },
    { address: 'host', port: 8080 },
  ] as const
  const states = ['active', 'active', 'terminating'] as const
  const backends = all
    .filter(() => prng.below(2) === 0)
    .map((backend) => ({ ...backend, state: states[prng.below(3)] ?? 'active' }))
  const protocols = ['TCP', 'UDP', 'SCTP'] as const
  return protocols.flatMap((protocol) => {
    const name = protocol.toLowerCase()
    const options = {
      sessionAffinitySeconds: prng.below(2) * 30,
      algorithm: prng.below(2) === 0 ? 'random' : 'maglev',
      externalTrafficPolicy: prng.below(3) === 0 ? 'Local' : 'Cluster',
    } as const
    const frontends = [
      { address: 'vip', port: 80, protocol, type: 'ClusterIP' },
      { address: 'uplink', port: 30_080, protocol, type: 'NodePort' },
      { address: '198.51.100.80', port: 443, protocol, type: 'LoadBalancer' },
    ] as const
    return [{ name, frontends, backends, ...options }]
  })
}

/** What some of the scenarios send, by the fuzz world's ports. */
export async function corpusOf(scenarios: readonly LoadedScenario[]): Promise<FuzzFrame[]> {
  const corpus: FuzzFrame[] = []
  for (const loaded of scenarios) {
    const world = await MemoryWorld.create(loaded.node)
    await runScenario(loaded, world, (_, { port, frame }) => {
      const { endpointId } = world.names.port(port)
      corpus.push({ port: endpointId <= PODS.length ? `pod${endpointId}` : port, frame })
      return true
    })
    world.close()
  }
  return corpus
}
