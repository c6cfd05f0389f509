/**
 * Opens captures: tells pcap from pcapng by their first bytes, and makes files by their name's
 * ending.
 */
import { openSync } from 'node:fs'
import { ByteSource } from './byte-source.js'
import { type CaptureReader, type CaptureWriter, formatError } from './capture.js'
import { isPcapLittleEndian, PcapReader } from './pcap-reader.js'
import { PcapWriter } from './pcap-writer.js'
import { BlockType } from './pcapng-format.js'
import { PcapngReader } from './pcapng-reader.js'
import { PcapngWriter } from './pcapng-writer.js'

/**
 * @param input the whole capture, or an open file descriptor, which stays the caller's to close
 * @throws EPCAP_FORMAT when it is neither format, or its header is damaged
 */
export function readCapture(input: Uint8Array | number): CaptureReader {
  const source = new ByteSource(input)
  if (!source.has(4)) throw formatError(0, 'the magic number', 'cut short', '4 bytes')
  if (source.u32(0) === BlockType.SECTION_HEADER) return new PcapngReader(source)
  const isLittleEndian = isPcapLittleEndian(source)
  if (isLittleEndian === null) {
    const found = `0x${source.u32(0).toString(16).padStart(8, '0')}`
    throw formatError(0, 'the magic number', found, 'that of a pcap or pcapng file')
  }
  source.isLittleEndian = isLittleEndian
  return new PcapReader(source)
}

/**
 * Creates or replaces a capture file: pcap when the name ends in .pcap, else pcapng. Throws what
 * open(2) says.
 */
export function createCapture(path: string): CaptureWriter {
  const descriptor = openSync(path, 'w', 0o600)
  return path.endsWith('.pcap') ? new PcapWriter(descriptor) : new PcapngWriter(descriptor)
}
