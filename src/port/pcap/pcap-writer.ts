/**
 * Writes the classic capture format 2.4 (draft-ietf-opsawg-pcap), little-endian, in nanoseconds. It
 * has one interface and no place for direction or comments; pcapng has.
 */
import { assert } from '../../base/assert.js'
import { ByteSink } from './byte-sink.js'
import {
  CAPTURED_BYTES_MAX,
  type CaptureInterface,
  type CaptureWriter,
  type FrameAnnotations,
  NANOSECONDS_PER_SECOND,
} from './capture.js'
import { PCAP_HEADER_BYTES, PCAP_RECORD_HEADER_BYTES, PcapMagic } from './pcap-reader.js'

export class PcapWriter implements CaptureWriter {
  readonly #sink: ByteSink
  #snapLength = 0

  /** @param descriptor open for writing; from now on the writer's to close */
  constructor(descriptor: number) {
    this.#sink = new ByteSink(descriptor)
  }

  addInterface(captured: CaptureInterface): number {
    assert(this.#snapLength === 0, 'a pcap file describes one interface; pcapng takes more')
    this.#snapLength = captured.snapLength === 0 ? CAPTURED_BYTES_MAX : captured.snapLength
    const sink = this.#sink
    sink.reserve(PCAP_HEADER_BYTES)
    sink.u32(PcapMagic.NANOSECONDS)
    sink.u16(2)
    sink.u16(4)
    // Time zone and accuracy: by the draft both reserved and zero.
    sink.u32(0)
    sink.u32(0)
    sink.u32(this.#snapLength)
    sink.u32(captured.linkType)
    return 0
  }

  write(
    interfaceIndex: number,
    timeNanoseconds: bigint,
    bytes: Uint8Array,
    annotations?: FrameAnnotations,
  ): void {
    assert(interfaceIndex === 0 && this.#snapLength > 0, 'no such interface was added')
    const captured = Math.min(bytes.length, this.#snapLength)
    const sink = this.#sink
    sink.reserve(PCAP_RECORD_HEADER_BYTES + captured)
    sink.u32(Number(timeNanoseconds / NANOSECONDS_PER_SECOND))
    sink.u32(Number(timeNanoseconds % NANOSECONDS_PER_SECOND))
    sink.u32(captured)
    sink.u32(Math.max(annotations?.originalLength ?? 0, bytes.length))
    sink.bytes(bytes.subarray(0, captured))
  }

  flush(): void {
    this.#sink.flush()
  }

  close(): void {
    this.#sink.close()
  }
}
