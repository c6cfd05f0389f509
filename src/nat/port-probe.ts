/**
 * The order in which ports are tried for a new mapping: the sender's own first, then two walks,
 * each from a random place. No port is tried twice.
 *
 * The range is taken as pairs of neighbours. A walk goes over the pairs with a stride that is a
 * prime larger than any number of pairs, so that it meets every pair before one again, whatever the
 * range (Cilium's repeated clamping converges to the range's end instead: bpf/lib/nat.h). The stride is chosen
 * anew for each walk: with always the same one, ports in use form runs along it, and a range filled
 * to nine tenths fails sixteen times as often. The first walk takes of each pair the port of the
 * sender's parity, which costs nothing and which RTP over NAT likes (RFC 4787 section 4.2.2); the
 * second one the other.
 */
import type { Prng } from '../base/prng.js'

/** As Cilium's SNAT_COLLISION_RETRIES. */
export const PORT_TRIES_MAX = 32
/** One more than half of them, for of an odd range the last pair has one port. */
const PARITY_STEPS = PORT_TRIES_MAX / 2 + 1

/** As many as a byte can choose from, spread over a whole range of remainders. */
const STRIDES = 256
const STRIDE_MIN = 32_769
const STRIDE_STEP = 128
const STRIDE_PRIMES = stridePrimes()

export class PortProbe {
  readonly #random: Prng
  #low = 0
  #high = 0
  #pairs = 0
  #pair = 0
  #stride = 0
  #parity = 0
  #kept = -1
  /** Steps of both walks made, and as many as find every port of a small range. */
  #step = 0
  #steps = 0

  /** Ports handed out since `begin`. */
  tries = 0

  constructor(random: Prng) {
    this.#random = random
  }

  /** @param wanted tried first when it is in the range, both ends of which belong to it */
  begin(wanted: number, low: number, high: number): void {
    this.#low = low
    this.#high = high
    this.#pairs = (high - low + 2) >> 1
    this.#parity = (wanted ^ low) & 1
    this.#kept = wanted >= low && wanted <= high ? wanted : -1
    this.#step = 0
    // After a walk over all pairs there is nothing left of that parity.
    this.#steps = 2 * Math.min(this.#pairs, PARITY_STEPS)
    this.tries = 0
  }

  /** The next port to try, or -1 when all were tried, or PORT_TRIES_MAX of them. */
  next(): number {
    if (this.tries === PORT_TRIES_MAX) return -1
    if (this.tries === 0 && this.#kept >= 0) {
      this.tries = 1
      return this.#kept
    }
    while (this.#step < this.#steps) {
      const port = this.#walk()
      // Of an odd range the last pair has one port; the kept one has been tried.
      if (port > this.#high || port === this.#kept) continue
      this.tries++
      return port
    }
    return -1
  }

  #walk(): number {
    // Two places, for where ports in use lie side by side, as those of senders that keep their own do,
    // a walk of short steps meets nothing else.
    if (this.#step === 0 || this.#step * 2 === this.#steps) {
      this.#pair = this.#random.below(this.#pairs)
      this.#stride = STRIDE_PRIMES[this.#random.nextInt32() >>> 24] as number
    } else this.#pair = (this.#pair + this.#stride) % this.#pairs
    const isOtherParity = this.#step * 2 >= this.#steps
    this.#step++
    return this.#low + 2 * this.#pair + (isOtherParity ? this.#parity ^ 1 : this.#parity)
  }
}

function stridePrimes(): Int32Array {
  const primes = new Int32Array(STRIDES)
  for (let i = 0; i < STRIDES; i++) {
    let candidate = STRIDE_MIN + i * STRIDE_STEP
    while (!isPrime(candidate)) candidate += 2
    primes[i] = candidate
  }
  return primes
}

/** Of an odd number. */
function isPrime(n: number): boolean {
  for (let divisor = 3; divisor * divisor <= n; divisor += 2) if (n % divisor === 0) return false
  return true
}
