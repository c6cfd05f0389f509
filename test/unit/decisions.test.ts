/** What the flow lane hears of: a change of any map that decides on packets, by whichever handle. */
import t from 'tap'
import { UpdateFlag } from '../../src/maps/map.js'
import { ChangeCount } from '../../src/maps/revision.js'
import { DatapathMaps } from '../../src/pipeline/datapath-maps.js'

/** Of those that stand in fields, at most so deep. */
const DEPTH_MAX = 4

function mapsIn(value: unknown, found = new Map<string, ChangeCount>(), depth = 0) {
  if (typeof value !== 'object' || value === null || depth > DEPTH_MAX) return found
  const { spec, changes } = value as { spec?: { name: string }; changes?: unknown }
  if (spec !== undefined && changes instanceof ChangeCount) found.set(spec.name, changes)
  for (const each of Object.values(value)) mapsIn(each, found, depth + 1)
  return found
}

t.test('a change of any map that decides is counted where the lane looks, once', async (t) => {
  const maps = DatapathMaps.inMemory()
  const found = mapsIn(maps)
  t.comment([...found.keys()].join(' '))
  t.ok(found.size > 20)
  for (const [name, changes] of found) {
    const before = maps.revisions.sum
    changes.mark()
    t.equal(maps.revisions.sum, before + 1, name)
  }
})

t.test('and a prefix once, when the tables have it, too', async (t) => {
  const maps = DatapathMaps.inMemory()
  const { ipcachePrefixes: prefixes } = maps
  const before = maps.revisions.sum
  const address = Int32Array.of(0, 0, 0xffff, 0x0a000000)
  prefixes.update(address, 120, new Int32Array(prefixes.spec.valueWords), UpdateFlag.ANY)
  t.equal(maps.revisions.sum, before + 1)
  prefixes.delete(address, 120)
  t.equal(maps.revisions.sum, before + 2)
})
