/**
 * Addresses and flag names between text and bytes, for the packet builder and checker. Simple and
 * slow on purpose, and independent of src/wire, so that an error there is not blessed by itself.
 */

export const TCP_FLAGS: readonly string[] = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR']

export function macBytes(text: string): number[] {
  return text.split(':').map((pair) => Number.parseInt(pair, 16))
}

export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':')
}

export function ipv4Bytes(text: string): number[] {
  return text.split('.').map(Number)
}

export function ipv4Text(bytes: Uint8Array): string {
  return bytes.join('.')
}

/** Sixteen bytes of an IPv6 address without a dotted part. */
export function ipv6Bytes(text: string): number[] {
  const [front = '', back = ''] = text.split('::')
  const groups = (part: string) => (part === '' ? [] : part.split(':'))
  const missing = 8 - groups(front).length - groups(back).length
  const all = [...groups(front), ...new Array<string>(missing).fill('0'), ...groups(back)]
  return all.flatMap((group) => {
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 255]
  })
}

/** Shortened by the rule of RFC 5952, found by trying every run of zeros, longest first. */
export function ipv6Text(bytes: Uint8Array): string {
  const groups: string[] = []
  for (let i = 0; i < 16; i += 2) groups.push(number16(bytes, i).toString(16))
  const text = groups.join(':')
  for (let run = 8; run >= 2; run--) {
    for (let start = 0; start + run <= 8; start++) {
      if (groups.slice(start, start + run).some((group) => group !== '0')) continue
      return `${groups.slice(0, start).join(':')}::${groups.slice(start + run).join(':')}`
    }
  }
  return text
}

export function number16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0)
}

/** Unsigned. */
export function number32(bytes: Uint8Array, at: number): number {
  return number16(bytes, at) * 65536 + number16(bytes, at + 2)
}

/** 'SYN ACK' for 0x12; names in the order of their bits. */
export function flagsText(bits: number): string {
  return TCP_FLAGS.filter((_, bit) => (bits & (1 << bit)) !== 0).join(' ')
}

export function flagBits(text: string): number {
  let bits = 0
  for (const name of text.split(' ').filter((part) => part !== '')) {
    const bit = TCP_FLAGS.indexOf(name)
    if (bit === -1) throw new Error(`${name} is not a TCP flag; known are ${TCP_FLAGS.join(' ')}`)
    bits |= 1 << bit
  }
  return bits
}

export function hex(value: number, digits = 4): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}
