/**
 * Writes pcapng (draft-ietf-opsawg-pcapng): one little-endian section, interfaces with nanosecond
 * clocks described when they first appear, and enhanced packet blocks with direction and comments.
 */
import { assert } from '../../base/assert.js'
import { ByteSink, type ByteTaker } from './byte-sink.js'
import {
  CAPTURED_BYTES_MAX,
  type CaptureInterface,
  type CaptureWriter,
  type FrameAnnotations,
} from './capture.js'
import {
  BLOCK_OVERHEAD_BYTES,
  BlockType,
  BYTE_ORDER_MAGIC,
  OPTION_BYTES_MAX,
  OPTION_HEADER_BYTES,
  Option,
  paddedTo4,
  RESOLUTION_NANOSECONDS,
  VERSION_MAJOR,
  VERSION_MINOR,
} from './pcapng-format.js'

const APPLICATION = 'ringpath'
const SECTION_BODY_BYTES = 16
const INTERFACE_BODY_BYTES = 8
const PACKET_BODY_BYTES = 20
const UNKNOWN_SECTION_LENGTH = 0xffff_ffff

interface OptionValue {
  readonly code: number
  readonly value: Uint8Array
}

export class PcapngWriter implements CaptureWriter {
  readonly #sink: ByteSink
  readonly #snapLengths: number[] = []
  readonly #text = new TextEncoder()

  /** @param target a descriptor open for writing, from now on the writer's to close; or a taker */
  constructor(target: number | ByteTaker) {
    this.#sink = new ByteSink(target)
    const options = [this.#textOption(Option.SECTION_APPLICATION, APPLICATION)]
    const total = this.#beginBlock(BlockType.SECTION_HEADER, SECTION_BODY_BYTES, options)
    this.#sink.u32(BYTE_ORDER_MAGIC)
    this.#sink.u16(VERSION_MAJOR)
    this.#sink.u16(VERSION_MINOR)
    this.#sink.u32(UNKNOWN_SECTION_LENGTH)
    this.#sink.u32(UNKNOWN_SECTION_LENGTH)
    this.#endBlock(total, options)
  }

  addInterface(captured: CaptureInterface): number {
    const options = [
      this.#textOption(Option.INTERFACE_NAME, captured.name),
      {
        code: Option.INTERFACE_TIME_RESOLUTION,
        value: Uint8Array.of(RESOLUTION_NANOSECONDS),
      },
    ]
    const total = this.#beginBlock(BlockType.INTERFACE_DESCRIPTION, INTERFACE_BODY_BYTES, options)
    this.#sink.u16(captured.linkType)
    this.#sink.u16(0)
    this.#sink.u32(captured.snapLength)
    this.#endBlock(total, options)
    const limit = captured.snapLength === 0 ? CAPTURED_BYTES_MAX : captured.snapLength
    return this.#snapLengths.push(limit) - 1
  }

  write(
    interfaceIndex: number,
    timeNanoseconds: bigint,
    bytes: Uint8Array,
    annotations: FrameAnnotations = {},
  ): void {
    const snapLength = this.#snapLengths[interfaceIndex]
    assert(snapLength !== undefined, `interface ${interfaceIndex} was not added`)
    const captured = Math.min(bytes.length, snapLength)
    const options = this.#packetOptions(annotations)
    const body = PACKET_BODY_BYTES + paddedTo4(captured)
    const total = this.#beginBlock(BlockType.ENHANCED_PACKET, body, options)
    const sink = this.#sink
    sink.u32(interfaceIndex)
    sink.u32(Number((timeNanoseconds >> 32n) & 0xffff_ffffn))
    sink.u32(Number(timeNanoseconds & 0xffff_ffffn))
    sink.u32(captured)
    sink.u32(Math.max(annotations.originalLength ?? 0, bytes.length))
    sink.bytes(bytes.subarray(0, captured))
    sink.padding(captured)
    this.#endBlock(total, options)
  }

  flush(): void {
    this.#sink.flush()
  }

  close(): void {
    this.#sink.close()
  }

  #packetOptions(annotations: FrameAnnotations): OptionValue[] {
    const options: OptionValue[] = []
    for (const comment of annotations.comments ?? []) {
      options.push(this.#textOption(Option.COMMENT, comment))
    }
    if (annotations.direction !== undefined) {
      const value = Uint8Array.of(annotations.direction, 0, 0, 0)
      options.push({ code: Option.PACKET_FLAGS, value })
    }
    return options
  }

  /** Cut to what an option can hold. */
  #textOption(code: number, text: string): OptionValue {
    return { code, value: this.#text.encode(text).subarray(0, OPTION_BYTES_MAX) }
  }

  /** Returns the block's total length, which its end repeats. */
  #beginBlock(type: number, bodyBytes: number, options: readonly OptionValue[]): number {
    let total = BLOCK_OVERHEAD_BYTES + bodyBytes
    if (options.length > 0) total += OPTION_HEADER_BYTES
    for (const { value } of options) total += OPTION_HEADER_BYTES + paddedTo4(value.length)
    this.#sink.reserve(total)
    this.#sink.u32(type)
    this.#sink.u32(total)
    return total
  }

  #endBlock(total: number, options: readonly OptionValue[]): void {
    const sink = this.#sink
    for (const { code, value } of options) {
      sink.u16(code)
      sink.u16(value.length)
      sink.bytes(value)
      sink.padding(value.length)
    }
    if (options.length > 0) sink.u32(Option.END)
    sink.u32(total)
  }
}
