/**
 * Prefixes in order, so that those within a prefix are neighbours. IPv4 prefixes are those of
 * ::ffff:0:0/96, as everywhere; ::/0 contains no IPv4 one.
 */
import { type Cidr, IPV4_PREFIX_BITS, isIpv4Words } from '../wire/address.js'

const ADDRESS_WORDS = 4

export class CidrIndex<T> {
  readonly #items: { readonly cidr: Cidr; readonly item: T }[] = []

  /** The prefix must not be there yet. */
  add(cidr: Cidr, item: T): void {
    this.#items.splice(this.#firstAt(cidr), 0, { cidr, item })
  }

  delete(cidr: Cidr): void {
    this.#items.splice(this.#firstAt(cidr), 1)
  }

  /** Of the prefix itself and of all that it contains, wider ones first. */
  *within(cidr: Cidr): Generator<T> {
    for (let i = this.#firstAt(cidr); i < this.#items.length; i++) {
      const entry = this.#items[i]
      if (entry === undefined || !coversBits(cidr, entry.cidr)) return
      if (contains(cidr, entry.cidr)) yield entry.item
    }
  }

  /** Place of the first prefix that is not before this one. */
  #firstAt(cidr: Cidr): number {
    let low = 0
    let high = this.#items.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const entry = this.#items[middle]
      if (entry !== undefined && compare(entry.cidr, cidr) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Things of a prefix, found by any prefix that lies in theirs. */
export class CoverIndex<T> {
  readonly #byLength = new Map<number, Map<string, Set<T>>>()

  add(cidr: Cidr, item: T): void {
    let ofLength = this.#byLength.get(cidr.prefixBits)
    if (ofLength === undefined) {
      ofLength = new Map()
      this.#byLength.set(cidr.prefixBits, ofLength)
    }
    const key = keyOf(cidr, cidr.prefixBits)
    const items = ofLength.get(key)
    if (items === undefined) ofLength.set(key, new Set([item]))
    else items.add(item)
  }

  delete(cidr: Cidr, item: T): void {
    const ofLength = this.#byLength.get(cidr.prefixBits)
    const key = keyOf(cidr, cidr.prefixBits)
    const items = ofLength?.get(key)
    items?.delete(item)
    if (items?.size === 0) ofLength?.delete(key)
    if (ofLength?.size === 0) this.#byLength.delete(cidr.prefixBits)
  }

  /** At most one look for each prefix length in use. */
  *covering(cidr: Cidr): Generator<T> {
    for (const [length, ofLength] of this.#byLength) {
      if (length <= cidr.prefixBits) yield* ofLength.get(keyOf(cidr, length)) ?? []
    }
  }
}

/** The first `length` bits of the address, as text. */
function keyOf({ words }: Cidr, length: number): string {
  let key = ''
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    const bits = length - 32 * i
    if (bits <= 0) break
    key += `${bits >= 32 ? words[i] : (words[i] as number) & (-1 << (32 - bits))},`
  }
  return key
}

/** Does the first prefix contain the second, or is it the same? */
export const contains = (outer: Cidr, inner: Cidr): boolean =>
  isOfIpv4(outer) === isOfIpv4(inner) && coversBits(outer, inner)

export const isOfIpv4 = (cidr: Cidr): boolean =>
  cidr.prefixBits >= IPV4_PREFIX_BITS && isIpv4Words(cidr.words)

function coversBits(outer: Cidr, inner: Cidr): boolean {
  if (inner.prefixBits < outer.prefixBits) return false
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    const bits = outer.prefixBits - 32 * i
    if (bits <= 0) return true
    const mask = bits >= 32 ? -1 : -1 << (32 - bits)
    if ((((outer.words[i] as number) ^ (inner.words[i] as number)) & mask) !== 0) return false
  }
  return true
}

/** By address, then wider before narrower. */
function compare(a: Cidr, b: Cidr): number {
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    const difference = ((a.words[i] as number) >>> 0) - ((b.words[i] as number) >>> 0)
    if (difference !== 0) return difference
  }
  return a.prefixBits - b.prefixBits
}
