/**
 * The numbers of rtnetlink(7) that we use, from include/uapi/linux/netlink.h, rtnetlink.h,
 * neighbour.h, if_addr.h, if_link.h and fib_rules.h. IPv4 only.
 */

export const AF_INET = 2

export const MessageType = {
  ERROR: 2,
  DONE: 3,
  NEW_LINK: 16,
  DELETE_LINK: 17,
  GET_LINK: 18,
  NEW_ADDRESS: 20,
  DELETE_ADDRESS: 21,
  GET_ADDRESS: 22,
  NEW_ROUTE: 24,
  DELETE_ROUTE: 25,
  GET_ROUTE: 26,
  NEW_NEIGHBOUR: 28,
  DELETE_NEIGHBOUR: 29,
  GET_NEIGHBOUR: 30,
  NEW_RULE: 32,
  DELETE_RULE: 33,
  GET_RULE: 34,
} as const

export const MessageFlag = {
  REQUEST: 0x1,
  /** Answered by an ERROR message, whose number is 0 when all went well. */
  ACKNOWLEDGE: 0x4,
  /** Of a dump: the tables changed while it was made. */
  DUMP_INTERRUPTED: 0x10,
  /** Of a request: everything (ROOT and MATCH). */
  DUMP: 0x300,
  /** Of a new object: it takes the place of one. */
  REPLACE: 0x100,
  /** Of a new object: refused when there is one. */
  EXCLUSIVE: 0x200,
  CREATE: 0x400,
  /** Of a new route: behind those like it. */
  APPEND: 0x800,
} as const

/** Multicast groups, RTNLGRP_. */
export const Group = {
  LINK: 1,
  NEIGHBOUR: 3,
  IPV4_ADDRESS: 5,
  IPV4_ROUTE: 7,
  IPV4_RULE: 8,
} as const

export const LinkAttribute = { NAME: 3, MTU: 4, INFO: 18 } as const
/** IFLA_INFO_ within LinkAttribute.INFO; VETH_INFO_PEER within its data. */
export const LinkInfo = { KIND: 1, DATA: 2 } as const
export const VETH_PEER = 1
/** IFF_UP. */
export const LINK_UP = 1

export const AddressAttribute = { ADDRESS: 1, LOCAL: 2, FLAGS: 8 } as const
/** IFA_F_SECONDARY. */
export const ADDRESS_SECONDARY = 1
/** Scopes of addresses and routes: RT_SCOPE_LINK and what is narrower has a higher number. */
export const SCOPE_LINK = 253
export const SCOPE_UNIVERSE = 0

/** RTA_. */
export const RouteAttribute = {
  DESTINATION: 1,
  OUT_DEVICE: 4,
  GATEWAY: 5,
  METRIC: 6,
  PREFERRED_SOURCE: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
  /** A gateway of another family. */
  VIA: 18,
  ENCAPSULATION: 22,
} as const
/** RTAX_MTU, within RouteAttribute.METRICS. */
export const METRIC_MTU = 2

/** RTN_. */
export const RouteType = {
  UNICAST: 1,
  LOCAL: 2,
  BROADCAST: 3,
  BLACKHOLE: 6,
  UNREACHABLE: 7,
  PROHIBIT: 8,
  THROW: 9,
} as const

/** RTM_F_CLONED: of a cache, not of a table. */
export const ROUTE_CLONED = 0x200
/** RTNH_F_DEAD. */
export const HOP_DEAD = 1

export const Table = { DEFAULT: 253, MAIN: 254, LOCAL: 255 } as const

export const NeighbourAttribute = { DESTINATION: 1, MAC: 2 } as const

/** NUD_. */
export const NeighbourState = {
  INCOMPLETE: 0x01,
  REACHABLE: 0x02,
  STALE: 0x04,
  DELAY: 0x08,
  PROBE: 0x10,
  FAILED: 0x20,
  NO_ARP: 0x40,
  PERMANENT: 0x80,
} as const

/** NTF_USE: as if a packet had been sent to the neighbour. */
export const NEIGHBOUR_USE = 1

/** FRA_. */
export const RuleAttribute = {
  IN_DEVICE: 3,
  PRIORITY: 6,
  MARK: 10,
  SUPPRESS_GROUP: 13,
  SUPPRESS_PREFIX_LENGTH: 14,
  TABLE: 15,
  OUT_DEVICE: 17,
  L3_MASTER: 19,
  USER_RANGE: 20,
  PROTOCOL: 21,
} as const
/** FR_ACT_TO_TBL. */
export const RULE_TO_TABLE = 1
/** FIB_RULE_INVERT. */
export const RULE_INVERTED = 2
