/** Numbers of the pcapng format (draft-ietf-opsawg-pcapng), shared by its reader and its writer. */

export const BlockType = {
  SECTION_HEADER: 0x0a0d0d0a,
  INTERFACE_DESCRIPTION: 1,
  /** Obsolete, read but not written. */
  PACKET: 2,
  SIMPLE_PACKET: 3,
  ENHANCED_PACKET: 6,
} as const

/** Reads the same in neither byte order but its own. */
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d
export const VERSION_MAJOR = 1
export const VERSION_MINOR = 0

/** Type, total length, and total length again at the end. */
export const BLOCK_OVERHEAD_BYTES = 12
/** Type and total length, in front of a block's body. */
export const BLOCK_HEADER_BYTES = 8
export const OPTION_HEADER_BYTES = 4
/** An option's length field has 16 bits. */
export const OPTION_BYTES_MAX = 0xffff

export const Option = {
  END: 0,
  COMMENT: 1,
  INTERFACE_NAME: 2,
  INTERFACE_TIME_RESOLUTION: 9,
  INTERFACE_CHECK_SEQUENCE_LENGTH: 13,
  INTERFACE_TIME_OFFSET: 14,
  /** In packet blocks, where the number 2 means something else than in an interface description. */
  PACKET_FLAGS: 2,
  SECTION_APPLICATION: 4,
} as const

/** epb_flags: direction, and the length of the frame check sequence. */
export const FLAGS_DIRECTION_MASK = 0x3
export const FLAGS_CHECK_SEQUENCE_SHIFT = 5
export const FLAGS_CHECK_SEQUENCE_MASK = 0xf

/** if_tsresol: the highest bit chooses powers of two, the others are the negative exponent. */
export const RESOLUTION_BINARY = 0x80
export const RESOLUTION_MICROSECONDS = 6
export const RESOLUTION_NANOSECONDS = 9

export const paddedTo4 = (length: number) => length + (-length & 3)
