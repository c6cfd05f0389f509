/**
 * The other process of maps-processes.test.ts: opens the map in a file and works on it until it is
 * killed. Arguments: file, seed, job. Prints a line once it is at work.
 */
import { SharedMemory } from 'xdp-socket-napi'
import { Prng } from '../../src/base/prng.js'
import { KEY_BUSY } from '../../src/maps/hash-layout.js'
import { HashMap } from '../../src/maps/hash-map.js'
import { LpmMap } from '../../src/maps/lpm-map.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { UpdateFlag } from '../../src/maps/map.js'
import { HEADER_WORDS } from '../../src/maps/map-header.js'
import { fillKey } from './map-model.js'
import { churn, churnPrefixes, fillOwnValue } from './map-worker.js'

/** Keys that the writers of a test take from, and that one of them writes alone. */
export const SHARED_KINDS = 120
export const OWN_KIND = 5000
const BURST = 100

const [path = '', seed = '0', job = ''] = process.argv.slice(2)

/** Leaves what a process leaves that is killed within a write: the lock, and half an entry. */
function dieWriting(buffer: ArrayBuffer): void {
  const map = HashMap.open(buffer)
  const key = fillKey(new Int32Array(map.spec.keyWords), OWN_KIND)
  const value = fillOwnValue(new Int32Array(map.spec.valueWords), OWN_KIND, 1)
  const at = map.keyStart(map.update(key, value, UpdateFlag.ANY))
  const segment = Math.floor(map.lookup(key) / (map.segmentMask + 1))
  map.words[HEADER_WORDS + segment * 4] = process.pid << 9
  map.words[at - 1] = (map.words[at - 1] as number) | KEY_BUSY
  map.words[at + 1] = 0
}

function work(buffer: ArrayBuffer, prng: Prng): () => void {
  if (job === 'hash') {
    const map = HashMap.open(buffer)
    return () => churn(map, prng, SHARED_KINDS, BURST)
  }
  if (job === 'lru') {
    const map = LruHashMap.open(buffer)
    return () => churn(map, prng, SHARED_KINDS, BURST)
  }
  if (job === 'lpm') {
    const map = LpmMap.open(buffer)
    return () => churnPrefixes(map, prng, BURST)
  }
  dieWriting(buffer)
  return () => process.kill(process.pid, 'SIGKILL')
}

if (path !== '') {
  const { buffer } = SharedMemory.open(path, 0)
  const step = work(buffer, new Prng(Number(seed)))
  process.stdout.write('at work\n', () => {
    for (;;) step()
  })
}
