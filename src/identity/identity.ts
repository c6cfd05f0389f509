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

/** Identities are 24 bits wide: they travel as a VXLAN network identifier. */
export const IDENTITY_MAX = 0xff_ffff
