/**
 * A map's header: memory of the same format is adopted with its entries, any other is refused by
 * the field that differs.
 */
import t from 'tap'
import { RingpathError } from '../../src/base/errors.js'
import { ArrayMap } from '../../src/maps/array-map.js'
import { CounterMap } from '../../src/maps/counter-map.js'
import { EventRing } from '../../src/maps/event-ring.js'
import { HashMap } from '../../src/maps/hash-map.js'
import { LpmMap } from '../../src/maps/lpm-map.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { type FixedMap, type MapKind, type MapSpec, MapType } from '../../src/maps/map.js'
import { Header, isBlank, specIn } from '../../src/maps/map-header.js'

const SPEC: MapSpec = {
  name: 'connections',
  type: MapType.HASH,
  keyWords: 2,
  valueWords: 3,
  maxEntries: 20,
}

const KINDS: readonly [MapKind<FixedMap>, MapSpec][] = [
  [HashMap, SPEC],
  [LruHashMap, { ...SPEC, type: MapType.LRU_HASH, stampWord: 1 }],
  [LpmMap, { ...SPEC, type: MapType.LPM, keyWords: 4, tables: 9 }],
  [ArrayMap, { ...SPEC, type: MapType.ARRAY, keyWords: 0 }],
  [CounterMap, { ...SPEC, type: MapType.COUNTER, keyWords: 0, valueWords: 2, workers: 3 }],
  [EventRing, { ...SPEC, type: MapType.EVENT_RING, keyWords: 0, maxEntries: 16 }],
]

/** What the call is refused with, or a text that says it was not. */
function refusal(call: () => unknown, code: string): string {
  try {
    call()
  } catch (error) {
    if (error instanceof RingpathError && error.code === code) return error.message
    throw error
  }
  return 'not refused'
}

for (const [kind, spec] of KINDS) {
  t.test(`${spec.type}: a created map is opened again, with its spec or without`, async (t) => {
    const buffer = new SharedArrayBuffer(kind.bytesFor(spec))
    t.ok(isBlank(buffer))
    t.same(kind.create(spec, buffer).spec, spec)
    t.notOk(isBlank(buffer))
    t.same(kind.open(buffer, spec).spec, spec)
    t.same(kind.open(buffer).spec, spec)
    t.same(specIn(buffer), spec)
  })

  t.test(`${spec.type}: every field that differs is named, with found and expected`, async (t) => {
    const buffer = new ArrayBuffer(kind.bytesFor(spec))
    kind.create(spec, buffer)
    const differences: Record<string, string | number> = {
      name: 'other',
      keyWords: spec.keyWords + 1,
      valueWords: spec.valueWords + 1,
      maxEntries: spec.maxEntries * 2,
    }
    if (spec.stampWord !== undefined) differences.stampWord = 2
    if (spec.tables !== undefined) differences.tables = 10
    if (spec.workers !== undefined) differences.workers = 4
    for (const [field, value] of Object.entries(differences)) {
      const text = refusal(() => kind.open(buffer, { ...spec, [field]: value }), 'EMAP_FORMAT')
      const found = spec[field as keyof MapSpec]
      t.match(text, new RegExp(`${field} ${found}, expected ${value}`))
    }
    for (const [other, otherSpec] of KINDS) {
      if (other === kind) continue
      const text = refusal(() => other.open(buffer, otherSpec), 'EMAP_FORMAT')
      t.match(text, new RegExp(`type ${spec.type}, expected ${otherSpec.type}`))
    }
  })

  t.test(`${spec.type}: a damaged header is refused by the word that is wrong`, async (t) => {
    const buffer = new ArrayBuffer(kind.bytesFor(spec))
    kind.create(spec, buffer)
    const words = new Int32Array(buffer)
    for (const [word, value, text] of [
      [Header.MAGIC, 0x314d5052, /magic 0x314d5052, expected 0x52504d31/],
      [Header.MAGIC, 0, /magic 0x0/],
      [Header.VERSION, 99, /version 99, expected 2/],
      [Header.TYPE, 77, /type 77/],
      [Header.MAX_ENTRIES, -1, /spec out of range/],
      [Header.MAX_ENTRIES, 2 ** 30, /spec out of range/],
      [Header.TOTAL_WORDS, 5, /words 5, expected/],
    ] as const) {
      const kept = words[word] as number
      words[word] = value
      t.match(
        refusal(() => kind.open(buffer), 'EMAP_FORMAT'),
        text,
      )
      words[word] = kept
    }
    t.ok(kind.open(buffer, spec))
  })

  t.test(`${spec.type}: truncated memory is refused at every length`, async (t) => {
    const bytes = kind.bytesFor(spec)
    const buffer = new ArrayBuffer(bytes)
    kind.create(spec, buffer)
    for (const length of [0, 4, 100, 252, 256, 260, bytes - 64, bytes - 4, bytes - 1]) {
      const text = refusal(() => kind.open(buffer.slice(0, length), spec), 'EMAP_FORMAT')
      t.match(text, /bytes \d+, expected at least \d+/, `${length} bytes`)
      t.match(
        refusal(() => kind.create(spec, new ArrayBuffer(length)), 'EMAP_SPEC'),
        /buffer/,
      )
    }
  })

  t.test(`${spec.type}: several maps live in one buffer`, async (t) => {
    const bytes = Math.ceil(kind.bytesFor(spec) / 64) * 64
    const buffer = new SharedArrayBuffer(3 * bytes)
    for (let i = 0; i < 3; i++) {
      kind.create({ ...spec, name: `map ${i}` }, buffer, { byteOffset: i * bytes })
    }
    for (let i = 0; i < 3; i++) {
      t.equal(kind.open(buffer, undefined, { byteOffset: i * bytes }).spec.name, `map ${i}`)
    }
    t.match(
      refusal(() => kind.create(spec, buffer, { byteOffset: 12 }), 'EMAP_SPEC'),
      /byteOffset/,
    )
    t.match(
      refusal(() => kind.open(buffer, spec, { byteOffset: 12 }), 'EMAP_SPEC'),
      /byteOffset/,
    )
  })
}

t.test('a spec out of range is refused by its field', async (t) => {
  for (const [wrong, text] of [
    [{ name: '' }, /name/],
    [{ name: 'x'.repeat(64) }, /name/],
    [{ keyWords: 0 }, /keyWords is 0/],
    [{ keyWords: 1.5 }, /keyWords is 1.5/],
    [{ valueWords: -1 }, /valueWords is -1/],
    [{ maxEntries: 0 }, /maxEntries is 0/],
    [{ maxEntries: 2 ** 29, valueWords: 64 }, /bytes is/],
    [{ type: MapType.ARRAY }, /type is array, expected hash/],
  ] as const) {
    t.match(
      refusal(() => HashMap.bytesFor({ ...SPEC, ...wrong }), 'EMAP_SPEC'),
      text,
    )
  }
  const ring: MapSpec = { ...SPEC, type: MapType.EVENT_RING, keyWords: 0, maxEntries: 12 }
  t.match(
    refusal(() => EventRing.bytesFor(ring), 'EMAP_SPEC'),
    /power of two/,
  )
  const lru: MapSpec = { ...SPEC, type: MapType.LRU_HASH, stampWord: 3 }
  t.match(
    refusal(() => LruHashMap.bytesFor(lru), 'EMAP_SPEC'),
    /stampWord is 3/,
  )
})

t.test(
  'a map whose creator was killed on the way is blank: it is refused, and made anew',
  async (t) => {
    const buffer = new ArrayBuffer(HashMap.bytesFor(SPEC))
    HashMap.create(SPEC, buffer)
    const words = new Int32Array(buffer)
    words[Header.MAGIC] = 0x52504d30
    t.ok(isBlank(buffer))
    t.match(
      refusal(() => HashMap.open(buffer, SPEC), 'EMAP_FORMAT'),
      /magic 0x52504d30, expected 0x52504d31/,
    )
    t.same(HashMap.create(SPEC, buffer).spec, SPEC)
    t.notOk(isBlank(buffer))
    t.ok(isBlank(new ArrayBuffer(0)), 'no memory is blank too; bytesFor tells how much it takes')
  },
)

t.test('a map created over old memory begins empty', async (t) => {
  const buffer = new ArrayBuffer(HashMap.bytesFor(SPEC))
  new Uint8Array(buffer).fill(0xa5)
  t.notOk(isBlank(buffer))
  const map = HashMap.create(SPEC, buffer)
  t.equal(map.size, 0)
  t.same([...map.slots()], [])
})
