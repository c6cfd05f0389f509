/**
 * The hash of a flow, equal for both of its directions: a packet and its reply probe the same place
 * of the connection table, so that one touched cache line serves both lookups.
 *
 * Each end (address, port) is mixed by itself and the two are added, which commutes. Xor of raw
 * words would not do: pods of one node differ in few bits and would collide in pairs. The seed,
 * random per node, keeps senders from choosing collisions.
 */

/** Odd multipliers of one multilinear mix; any will do. */
const M0 = 0x9e3779b1 | 0
const M1 = 0x85ebca6b | 0
const M2 = 0xc2b2ae35 | 0
const M3 = 0x27d4eb2f | 0
const M4 = 0x165667b1 | 0

/** @param start index of a tuple: source[4], destination[4], ports, protocol */
export function flowHash(words: Int32Array, start: number, seed: number): number {
  const ports = words[start + 8] as number
  const source = mixEnd(words, start, ports >>> 16, seed)
  const destination = mixEnd(words, start + 4, ports & 0xffff, seed)
  return finish((source + destination + Math.imul((words[start + 9] as number) & 0xff, M4)) | 0)
}

function mixEnd(words: Int32Array, start: number, port: number, seed: number): number {
  const low = Math.imul(words[start] as number, M0) + Math.imul(words[start + 1] as number, M1)
  const high =
    Math.imul(words[start + 2] as number, M2) + Math.imul((words[start + 3] as number) ^ seed, M3)
  return finish((low + high + Math.imul(port, M4)) | 0)
}

/** The finalizer of MurmurHash3 (public domain): each input bit reaches each output bit. */
function finish(mixed: number): number {
  let h = mixed
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
