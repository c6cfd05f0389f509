/**
 * Captures for tests: the fixtures, which tcpdump and editcap wrote, and blocks put together by
 * hand. Knows the formats on its own, not through src/port/pcap, except for `readAll`.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CapturedFrame } from '../../src/port/pcap/capture.js'
import { readCapture } from '../../src/port/pcap/open-capture.js'

// Compiled to dist/test/support, three levels below the root.
export const fixturePath = (name: string) =>
  join(import.meta.dirname, '..', '..', '..', 'test', 'fixtures', name)
export const fixture = (name: string) => readFileSync(fixturePath(name))
export const MICROSECONDS = 'ping-microseconds.pcap'
export const NANOSECONDS = 'ping-nanoseconds-snap60.pcap'
export const COMMENTS = 'ping-comments.pcapng'

export function readAll(input: Uint8Array | number): CapturedFrame[] {
  const reader = readCapture(input)
  const frames: CapturedFrame[] = []
  for (let frame = reader.next(); frame !== null; frame = reader.next()) {
    frames.push({ ...frame, bytes: frame.bytes.slice() })
  }
  return frames
}

/** Concatenates numbers (bytes) and words. */
export const bytesOf = (...parts: (number[] | Uint8Array)[]) =>
  Buffer.concat(parts.map(Buffer.from))

export function words(isLittleEndian: boolean, ...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4))
  values.forEach((value, i) => {
    view.setUint32(i * 4, value, isLittleEndian)
  })
  return new Uint8Array(view.buffer)
}

export function block(isLittleEndian: boolean, type: number, ...body: (number[] | Uint8Array)[]) {
  const content = bytesOf(...body)
  const total = 12 + content.length
  return bytesOf(words(isLittleEndian, type, total), content, words(isLittleEndian, total))
}

export const section = (isLittleEndian: boolean) => {
  const version = isLittleEndian ? [1, 0, 0, 0] : [0, 1, 0, 0]
  const unknown = words(true, 0xffffffff, 0xffffffff)
  return block(isLittleEndian, 0x0a0d0d0a, words(isLittleEndian, 0x1a2b3c4d), version, unknown)
}
