/** Places of the flow lane's table: who finds room, who is found, and who has to go. */
import t from 'tap'
import { VisitedEntries } from '../../src/conntrack/ct-traffic.js'
import { NO_FLOW, WAYS } from '../../src/pipeline/flow-layout.js'
import { FlowTable } from '../../src/pipeline/flow-table.js'

const HOME = 0
const WAY = (3 << 8) | 17
const NOTHING = new VisitedEntries()

/** Flows that differ in one word of their ends, all with the same home. */
function tableWith(flows: number): FlowTable {
  const table = new FlowTable(4096)
  for (let n = 0; n < flows; n++) {
    table.setTime(100 + n, 0)
    table.place(HOME, n, 7, 9, WAY, NOTHING)
  }
  return table
}

const isKnown = (table: FlowTable, n: number): boolean =>
  table.access.find(HOME, n, 7, 9, WAY) !== NO_FLOW

const known = (table: FlowTable, flows: number): number[] =>
  Array.from({ length: flows }, (_, n) => n).filter((n) => isKnown(table, n))

t.test('as many flows as there are ways share a home, and each is found', async (t) => {
  const table = tableWith(WAYS)
  t.equal(known(table, WAYS).length, WAYS)
  t.notOk(isKnown(table, WAYS))
  t.equal(table.access.find(HOME, 0, 7, 9, WAY ^ (1 << 8)), NO_FLOW, 'by another port')
})

t.test('one more takes the place of the one that was learned first', async (t) => {
  const table = tableWith(WAYS + 1)
  t.same(known(table, WAYS + 1), [1, 2, 3, 4, 5, 6, 7, 8])
})

t.test('a forgotten flow leaves its place to the next, and hides nobody behind it', async (t) => {
  const table = tableWith(4)
  table.forget(table.access.find(HOME, 1, 7, 9, WAY))
  t.same(known(table, 5), [0, 2, 3])
  table.place(HOME, 4, 7, 9, WAY, NOTHING)
  t.same(known(table, 5), [0, 2, 3, 4])
})

t.test('nobody looks behind a place that was never used', async (t) => {
  const table = tableWith(2)
  // By another home: a flow of ours is never put behind a place that was free.
  table.place(HOME + 3 * 16, 5, 7, 9, WAY, NOTHING)
  t.same(known(table, 6), [0, 1])
})
