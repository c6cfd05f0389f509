/**
 * Security identities: who a packet is from, independent of its address. Numbers are Cilium's
 * (pkg/identity/numericidentity.go).
 */

export const Identity = {
  UNKNOWN: 0,
  HOST: 1,
  WORLD: 2,
  UNMANAGED: 3,
  HEALTH: 4,
  INIT: 5,
  REMOTE_NODE: 6,
  KUBE_APISERVER: 7,
  INGRESS: 8,
  WORLD_IPV4: 9,
  WORLD_IPV6: 10,
} as const

/** The first number for identities made from labels; those below are reserved. */
export const IDENTITY_LABELS_MIN = 256
/** Identities are 24 bits wide: they travel as a VXLAN network identifier. */
export const IDENTITY_MAX = 0xff_ffff

const NAMES: Readonly<Record<number, string>> = {
  0: 'unknown',
  1: 'host',
  2: 'world',
  3: 'unmanaged',
  4: 'health',
  5: 'init',
  6: 'remote-node',
  7: 'kube-apiserver',
  8: 'ingress',
  9: 'world-ipv4',
  10: 'world-ipv6',
}

/** `host`, `world` … for reserved identities, the number for others. */
export const identityName = (identity: number): string => NAMES[identity] ?? String(identity)
