/** Bytes as hex text, and back; blanks between do not count. */
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export function fromHex(text: string): Uint8Array {
  const digits = text.replace(/\s/g, '')
  if (digits.length % 2 !== 0) throw new Error(`hex with an odd number of digits: ${digits}`)
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}
