/** Peers with a name (Cilium: pkg/policy/api/entity.go): which identities each stands for. */
import { Identity } from '../identity/identity.js'
import { isOfIpv4 } from './cidr-index.js'
import type { LabelSelector } from './labels.js'
import { type IdentityRecord, isWorld, type PeerSelector } from './rule.js'
import type { Entity } from './rule-spec.js'

/**
 * Labels of the reserved identities. An identity of the cluster store may carry one of them too,
 * such as that of a node on which the API server runs.
 */
export const RESERVED_LABELS: ReadonlyMap<number, string> = new Map([
  [Identity.HOST, 'reserved:host'],
  [Identity.WORLD, 'reserved:world'],
  [Identity.UNMANAGED, 'reserved:unmanaged'],
  [Identity.HEALTH, 'reserved:health'],
  [Identity.INIT, 'reserved:init'],
  [Identity.REMOTE_NODE, 'reserved:remote-node'],
  [Identity.KUBE_APISERVER, 'reserved:kube-apiserver'],
  [Identity.INGRESS, 'reserved:ingress'],
  [Identity.WORLD_IPV4, 'reserved:world-ipv4'],
  [Identity.WORLD_IPV6, 'reserved:world-ipv6'],
])

/** WORLD is the world of IPv4 where that has no number of its own, as on this node. */
const isWorldIpv4 = ({ number, cidr }: IdentityRecord): boolean =>
  cidr === undefined ? number === Identity.WORLD || number === Identity.WORLD_IPV4 : isOfIpv4(cidr)

const isWorldIpv6 = ({ number, cidr }: IdentityRecord): boolean =>
  cidr === undefined ? number === Identity.WORLD_IPV6 : !isOfIpv4(cidr)

const by = (name: Entity, matches: PeerSelector['matches']): PeerSelector => ({
  text: `entity ${name}`,
  matches,
  cidrs: [],
})

function byLabel(name: Entity): PeerSelector {
  const key = `reserved:${name}`
  const labels: LabelSelector = { matchExpressions: [{ key, operator: 'Exists' }] }
  return { ...by(name, (identity) => identity.labels.get(key) !== undefined), labels }
}

export const ENTITY_PEERS: Readonly<Record<Entity, PeerSelector | 'all'>> = {
  all: 'all',
  world: by('world', isWorld),
  'world-ipv4': by('world-ipv4', isWorldIpv4),
  'world-ipv6': by('world-ipv6', isWorldIpv6),
  cluster: by('cluster', (identity) => !isWorld(identity)),
  host: byLabel('host'),
  'remote-node': byLabel('remote-node'),
  init: byLabel('init'),
  ingress: byLabel('ingress'),
  health: byLabel('health'),
  unmanaged: byLabel('unmanaged'),
  'kube-apiserver': byLabel('kube-apiserver'),
}
