/**
 * Numbers that name the next header: EtherType (IEEE 802 registry) and IP protocol (IANA). Only
 * those we tell apart.
 */

export const EtherType = {
  IPV4: 0x0800,
  ARP: 0x0806,
  VLAN: 0x8100,
  IPV6: 0x86dd,
  /** The service tag of 802.1ad, the outer one of two. */
  SERVICE_VLAN: 0x88a8,
} as const
export type EtherType = (typeof EtherType)[keyof typeof EtherType]

export const Protocol = {
  HOP_BY_HOP: 0,
  ICMPV4: 1,
  IGMP: 2,
  TCP: 6,
  UDP: 17,
  ROUTING: 43,
  FRAGMENT: 44,
  ESP: 50,
  AUTHENTICATION: 51,
  ICMPV6: 58,
  NO_NEXT_HEADER: 59,
  DESTINATION_OPTIONS: 60,
  SCTP: 132,
} as const
export type Protocol = (typeof Protocol)[keyof typeof Protocol]
