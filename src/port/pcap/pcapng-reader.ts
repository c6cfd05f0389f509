/**
 * Reads pcapng (draft-ietf-opsawg-pcapng): sections of either byte order, interfaces with their
 * clocks, enhanced, simple and the obsolete packet blocks, comments and direction. Other blocks are
 * skipped and counted, not understood: name resolution, statistics, secrets, custom blocks.
 */
import type { ByteSource } from './byte-source.js'
import {
  CAPTURED_BYTES_MAX,
  type CapturedFrame,
  type CaptureReader,
  type DescribedInterface,
  Direction,
  formatError,
  NANOSECONDS_PER_SECOND,
} from './capture.js'
import { checkLengths } from './pcap-reader.js'
import {
  BLOCK_HEADER_BYTES,
  BLOCK_OVERHEAD_BYTES,
  BlockType,
  BYTE_ORDER_MAGIC,
  FLAGS_CHECK_SEQUENCE_MASK,
  FLAGS_CHECK_SEQUENCE_SHIFT,
  FLAGS_DIRECTION_MASK,
  Option,
  paddedTo4,
  RESOLUTION_BINARY,
  RESOLUTION_MICROSECONDS,
  VERSION_MAJOR,
  VERSION_MINOR,
} from './pcapng-format.js'
import { eachOption } from './pcapng-options.js'

/** Of blocks that are held whole in memory: the longest frame, and room for comments. */
const BLOCK_BYTES_MAX = 1_048_576
const INTERFACES_MAX = 4096

/** Offsets in each block, from its first byte. */
const SECTION = { MAGIC: 8, MAJOR: 12, MINOR: 14, OPTIONS: 24 } as const
const INTERFACE = { LINK_TYPE: 8, SNAP_LENGTH: 12, OPTIONS: 16 } as const
const PACKET = { INTERFACE: 8, HIGH: 12, LOW: 16, CAPTURED: 20, ORIGINAL: 24, DATA: 28 } as const
const SIMPLE = { ORIGINAL: 8, DATA: 12 } as const

interface InterfaceClock extends DescribedInterface {
  readonly unitsPerSecond: bigint
  readonly offsetSeconds: bigint
  readonly checkSequenceBytes: number
}

export class PcapngReader implements CaptureReader {
  readonly #source: ByteSource
  #interfaces: InterfaceClock[] = []
  #skippedBlocks = 0

  /** The source stands at a section header block. Throws EPCAP_FORMAT. */
  constructor(source: ByteSource) {
    this.#source = source
    this.#readSection()
  }

  get interfaces(): readonly DescribedInterface[] {
    return this.#interfaces
  }

  /** Blocks of types that this reader does not know. */
  get skippedBlocks(): number {
    return this.#skippedBlocks
  }

  next(): CapturedFrame | null {
    const source = this.#source
    // Every block is at least 12 bytes, so the file's length bounds the loop.
    while (source.has(1)) {
      if (!source.has(BLOCK_HEADER_BYTES)) {
        throw formatError(source.offset, 'the block header', 'cut short', '8 bytes')
      }
      switch (source.u32(0)) {
        case BlockType.SECTION_HEADER:
          this.#readSection()
          break
        case BlockType.INTERFACE_DESCRIPTION:
          this.#readInterface()
          break
        case BlockType.ENHANCED_PACKET:
          return this.#readPacket(source.has(12) ? source.u32(PACKET.INTERFACE) : 0)
        case BlockType.PACKET:
          return this.#readPacket(source.has(12) ? source.u16(PACKET.INTERFACE) : 0)
        case BlockType.SIMPLE_PACKET:
          return this.#readSimplePacket()
        default:
          this.#skipBlock()
      }
    }
    return null
  }

  #readSection(): void {
    const source = this.#source
    if (!source.has(SECTION.MAJOR)) {
      throw formatError(source.offset, 'the section header', 'cut short', '28 bytes')
    }
    source.isLittleEndian = true
    if (source.u32(SECTION.MAGIC) !== BYTE_ORDER_MAGIC) source.isLittleEndian = false
    const magic = source.u32(SECTION.MAGIC)
    if (magic !== BYTE_ORDER_MAGIC) {
      const found = `0x${magic.toString(16)}`
      const expected = '0x1a2b3c4d in either byte order'
      throw formatError(source.offset + SECTION.MAGIC, 'the byte-order magic', found, expected)
    }
    const length = this.#readBlock('section header', SECTION.OPTIONS)
    const version = `${source.u16(SECTION.MAJOR)}.${source.u16(SECTION.MINOR)}`
    // Some writers put 1.2 for what is 1.0; the draft tells readers to take it.
    if (version !== `${VERSION_MAJOR}.${VERSION_MINOR}` && version !== '1.2') {
      throw formatError(source.offset + SECTION.MAJOR, 'the version', version, '1.0')
    }
    eachOption(source, SECTION.OPTIONS, length - 4, () => {})
    this.#interfaces = []
    source.skip(length)
  }

  #readInterface(): void {
    const source = this.#source
    const length = this.#readBlock('interface description', INTERFACE.OPTIONS)
    if (this.#interfaces.length === INTERFACES_MAX) {
      const expected = `at most ${INTERFACES_MAX} in a section`
      throw formatError(source.offset, 'the number of interfaces', INTERFACES_MAX + 1, expected)
    }
    let name = ''
    let unitsPerSecond = unitsOfResolution(RESOLUTION_MICROSECONDS)
    let offsetSeconds = 0n
    let checkSequenceBytes = 0
    eachOption(source, INTERFACE.OPTIONS, length - 4, (code, at, bytes) => {
      const expectLength = (expected: number) => {
        if (bytes === expected) return
        throw formatError(source.offset + at, `the length of option ${code}`, bytes, `${expected}`)
      }
      if (code === Option.INTERFACE_NAME) {
        name = textOf(source.bytes(at, bytes))
      } else if (code === Option.INTERFACE_TIME_RESOLUTION) {
        expectLength(1)
        unitsPerSecond = unitsOfResolution(source.u8(at))
      } else if (code === Option.INTERFACE_TIME_OFFSET) {
        expectLength(8)
        offsetSeconds = source.i64(at)
      } else if (code === Option.INTERFACE_CHECK_SEQUENCE_LENGTH) {
        expectLength(1)
        checkSequenceBytes = source.u8(at)
      }
    })
    this.#interfaces.push({
      name,
      linkType: source.u16(INTERFACE.LINK_TYPE),
      snapLength: source.u32(INTERFACE.SNAP_LENGTH),
      linkTypeOffset: source.offset + INTERFACE.LINK_TYPE,
      unitsPerSecond,
      offsetSeconds,
      checkSequenceBytes,
    })
    source.skip(length)
  }

  #readPacket(interfaceIndex: number): CapturedFrame {
    const source = this.#source
    const length = this.#readBlock('packet', PACKET.DATA)
    const clock = this.#interfaceAt(source.offset + PACKET.INTERFACE, interfaceIndex)
    const captured = source.u32(PACKET.CAPTURED)
    const original = source.u32(PACKET.ORIGINAL)
    checkLengths(source.offset + PACKET.CAPTURED, captured, original)
    this.#checkRoom(PACKET.CAPTURED, captured, length - 4 - PACKET.DATA)
    let flags = 0
    const comments: string[] = []
    const optionsAt = PACKET.DATA + paddedTo4(captured)
    eachOption(source, optionsAt, length - 4, (code, at, bytes) => {
      if (code === Option.COMMENT) comments.push(textOf(source.bytes(at, bytes)))
      if (code !== Option.PACKET_FLAGS) return
      if (bytes !== 4) throw formatError(source.offset + at, 'the length of the flags', bytes, '4')
      flags = source.u32(at)
    })
    const units = (BigInt(source.u32(PACKET.HIGH)) << 32n) | BigInt(source.u32(PACKET.LOW))
    const checkSequence = (flags >>> FLAGS_CHECK_SEQUENCE_SHIFT) & FLAGS_CHECK_SEQUENCE_MASK
    const frame: CapturedFrame = {
      bytes: source.bytes(PACKET.DATA, captured),
      originalLength: original,
      timeNanoseconds:
        (units * NANOSECONDS_PER_SECOND) / clock.unitsPerSecond +
        clock.offsetSeconds * NANOSECONDS_PER_SECOND,
      interfaceIndex,
      direction: directionOf(flags),
      checkSequenceBytes: checkSequence === 0 ? clock.checkSequenceBytes : checkSequence,
      comments,
    }
    source.skip(length)
    return frame
  }

  #readSimplePacket(): CapturedFrame {
    const source = this.#source
    const length = this.#readBlock('simple packet', SIMPLE.DATA)
    const clock = this.#interfaceAt(source.offset, 0)
    const original = source.u32(SIMPLE.ORIGINAL)
    const limit = clock.snapLength === 0 ? CAPTURED_BYTES_MAX : clock.snapLength
    const captured = Math.min(original, limit)
    checkLengths(source.offset + SIMPLE.ORIGINAL, captured, original)
    this.#checkRoom(SIMPLE.ORIGINAL, captured, length - 4 - SIMPLE.DATA)
    const frame: CapturedFrame = {
      bytes: source.bytes(SIMPLE.DATA, captured),
      originalLength: original,
      timeNanoseconds: null,
      interfaceIndex: 0,
      direction: Direction.UNKNOWN,
      checkSequenceBytes: clock.checkSequenceBytes,
      comments: [],
    }
    source.skip(length)
    return frame
  }

  #interfaceAt(offset: number, index: number): InterfaceClock {
    const clock = this.#interfaces[index]
    if (clock !== undefined) return clock
    const expected = `one of the ${this.#interfaces.length} described before`
    throw formatError(offset, 'the interface of the packet', index, expected)
  }

  #checkRoom(field: number, captured: number, room: number): void {
    if (paddedTo4(captured) <= room) return
    const expected = `at most ${room}, what the block has room for`
    throw formatError(this.#source.offset + field, 'the captured length', captured, expected)
  }

  /**
   * Has the whole block in memory, checked its lengths; the cursor stays at its type. Returns its
   * length.
   */
  #readBlock(kind: string, bodyEnd: number): number {
    const source = this.#source
    const length = this.#blockLength()
    const least = bodyEnd + 4
    if (length < least || length > BLOCK_BYTES_MAX) {
      const expected = `${least} to ${BLOCK_BYTES_MAX} for a ${kind} block`
      throw formatError(source.offset + 4, 'the block length', length, expected)
    }
    if (!source.has(length)) {
      throw formatError(source.offset, `the ${kind} block`, 'cut short', `${length} bytes`)
    }
    const trailer = source.u32(length - 4)
    if (trailer !== length) {
      const offset = source.offset + length - 4
      throw formatError(offset, 'the repeated block length', trailer, `${length}, as at its start`)
    }
    return length
  }

  #skipBlock(): void {
    const source = this.#source
    const offset = source.offset
    const length = this.#blockLength()
    if (!source.skip(length - 4) || !source.has(4)) {
      throw formatError(offset, 'the block', 'cut short', `${length} bytes`)
    }
    const trailer = source.u32(0)
    if (trailer !== length) {
      const expected = `${length}, as at its start`
      throw formatError(source.offset, 'the repeated block length', trailer, expected)
    }
    source.skip(4)
    this.#skippedBlocks++
  }

  #blockLength(): number {
    const length = this.#source.u32(4)
    if (length >= BLOCK_OVERHEAD_BYTES && length % 4 === 0) return length
    const expected = 'a multiple of 4, at least 12'
    throw formatError(this.#source.offset + 4, 'the block length', length, expected)
  }
}

function directionOf(flags: number): Direction {
  const bits = flags & FLAGS_DIRECTION_MASK
  if (bits === Direction.INBOUND || bits === Direction.OUTBOUND) return bits
  return Direction.UNKNOWN
}

/** if_tsresol as units per second; at most 10^127, which BigInt takes in its stride. */
function unitsOfResolution(resolution: number): bigint {
  const exponent = BigInt(resolution & ~RESOLUTION_BINARY)
  return (resolution & RESOLUTION_BINARY) === 0 ? 10n ** exponent : 2n ** exponent
}

/** Bytes that are no UTF-8 become U+FFFD: a comment never makes a capture unreadable. */
function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
