/** Reconciling: the difference and its order; documents kept; a new agent over what one left. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ErrorCode, RingpathError } from '../../src/base/errors.js'
import { DocumentStore } from '../../src/daemon/document-store.js'
import { readManifestDirectory } from '../../src/daemon/manifest-directory.js'
import { chooseSizes } from '../../src/daemon/map-size-check.js'
import { holderOf, leaveRole, Role, takeRole } from '../../src/daemon/process-lock.js'
import {
  applyChanges,
  type Change,
  type NodeObject,
  type ObjectKind,
  plan,
} from '../../src/daemon/reconcile.js'
import { ofKind, parseDocuments } from '../../src/k8s/documents.js'
import { problemText } from '../../src/k8s/problem.js'
import { endpoint, TestAgent } from '../support/test-agent.js'

const object = (
  kind: ObjectKind,
  name: string,
  spec: Record<string, unknown> = {},
): NodeObject => ({
  kind,
  name,
  spec,
})
const texts = (changes: readonly Change[]) => changes.map((c) => `${c.action} ${c.kind} ${c.name}`)

t.test('equal states have no difference', async (t) => {
  const state = [object('Endpoint', 'a', { x: { y: [1] } }), object('Service', 's')]
  t.same(plan(state, structuredClone(state)), [])
})

t.test('deletions come first but for rules, then creations in the order of need', async (t) => {
  const before = [object('Rule', 'old'), object('Endpoint', 'old'), object('Service', 'old')]
  const after = [object('Service', 'new'), object('Endpoint', 'new'), object('Rule', 'new')]
  t.same(texts(plan(after, before)), [
    'delete Service old',
    'delete Endpoint old',
    'create Rule new',
    'create Endpoint new',
    'create Service new',
    'delete Rule old',
  ])
})

t.test('an update names the fields that differ', async (t) => {
  const [change] = plan(
    [object('Endpoint', 'a', { x: 1, y: 2 })],
    [object('Endpoint', 'a', { x: 1 })],
  )
  t.match(change, { action: 'update', fields: ['y'] })
})

t.test('a change that fails stops none of the others', async (t) => {
  const changes = plan([object('Service', 'bad'), object('Service', 'good')], [])
  const done: string[] = []
  const target = {
    apply: ({ name }: Change) => {
      if (name === 'bad') throw new Error('no room')
    },
    applyRules: () => t.fail('there are no rules'),
  }
  const failures = applyChanges(changes, target, ({ name }) => done.push(name))
  t.same(done, ['good'])
  t.match(failures, [{ change: { name: 'bad' }, message: 'no room' }])
})

t.test(
  'rules take effect together; a wrong one alone does not, and without room none',
  async (t) => {
    const rules = Array.from({ length: 9 }, (_, i) => object('Rule', `rule ${i}`))
    const changes = plan([...rules, object('Endpoint', 'pod')], [])
    const run = (refuse: (names: readonly string[]) => void) => {
      const calls: number[] = []
      const done: string[] = []
      const target = {
        apply: ({ name }: Change) => refuse([name]),
        applyRules: (group: readonly Change[]) => {
          calls.push(group.length)
          refuse(group.map(({ name }) => name))
        },
      }
      const failures = applyChanges(changes, target, ({ name }) => done.push(name))
      return { calls, done, failed: failures.map(({ change }) => change.name) }
    }
    t.match(
      run(() => {}),
      { calls: [9], failed: [] },
    )
    const wrong = run((names) => {
      if (names.includes('rule 4')) throw new RingpathError(ErrorCode.CONFIG_INVALID, 'wrong')
    })
    t.same(wrong.failed, ['rule 4'])
    t.equal(wrong.done.length, 9, 'eight rules and the endpoint')
    const full = run((names) => {
      if (names.includes('rule 4')) throw new RingpathError(ErrorCode.MAP_FULL, 'no room')
    })
    t.same([full.done, full.failed.length], [['pod'], 9])
  },
)

t.test('files: a wrong one keeps its last good version, the others take effect', async (t) => {
  const test = new TestAgent()
  t.teardown(() => test.close())
  const { agent } = test
  const names = () => agent.view.endpoints().map(({ name }) => name)
  test.manifest('a.yaml', endpoint('a', 1))
  test.manifest('b.yaml', endpoint('b', 2))
  agent.readManifests()
  t.same(names(), ['host', 'default/a', 'default/b'])
  test.manifest('a.yaml', 'kind: [')
  test.manifest('b.yaml', endpoint('b', 2) + endpoint('c', 3))
  agent.readManifests()
  t.same(names(), ['host', 'default/a', 'default/b', 'default/c'])
  t.match(agent.problems, [{ source: 'a.yaml' }])
  // Two files that are wrong only together: neither takes effect, each keeps what it had.
  test.manifest('a.yaml', endpoint('a', 1) + endpoint('d', 4))
  test.manifest('b.yaml', endpoint('b', 2) + endpoint('e', 4))
  agent.readManifests()
  t.notOk(names().includes('default/e'))
  test.manifest('a.yaml', endpoint('a', 1))
  agent.readManifests()
  t.same(agent.problems, [])
  t.ok(names().includes('default/e'))
})

t.test('a directory that is gone, or a file that cannot be read, deletes nothing', async (t) => {
  const test = new TestAgent()
  t.teardown(() => test.close())
  test.manifest('a.yaml', endpoint('a', 1))
  test.manifest('b.yaml', endpoint('b', 2))
  test.agent.readManifests()
  rmSync(test.path('manifests/a.yaml'))
  symlinkSync('/nowhere/at/all', test.path('manifests/a.yaml'))
  test.agent.readManifests()
  t.equal(test.agent.view.endpoints().length, 3)
  rmSync(test.path('manifests'), { recursive: true })
  test.agent.readManifests()
  t.equal(test.agent.view.endpoints().length, 3)
  mkdirSync(test.path('manifests'))
  test.agent.readManifests()
  t.equal(test.agent.view.endpoints().length, 1, 'an empty directory does')
})

t.test('documents of files and of the API are in force again after a restart', async (t) => {
  const test = new TestAgent()
  t.teardown(() => test.close())
  const path = test.path('documents.json')
  const store = new DocumentStore(path, test.agent.node)
  store.setFiles(new Map([['a.yaml', endpoint('a', 1)]]))
  store.proposeApply(endpoint('b', 2)).commit?.()
  const again = new DocumentStore(path, test.agent.node)
  t.same(
    again.state.documents.map(({ key, source }) => `${key} ${source}`),
    ['Endpoint default/a a.yaml', 'Endpoint default/b api'],
  )
  again.setFiles(new Map([['a.yaml', 'kind: [']]))
  t.equal(again.state.documents.length, 2, 'the last good version is known')
})

t.test('an object may move from one file to another in one step', async (t) => {
  const test = new TestAgent()
  t.teardown(() => test.close())
  test.manifest('b.yaml', endpoint('x', 1))
  test.manifest('a.yaml', '')
  test.agent.readManifests()
  const before = test.agent.view.endpoints()
  test.manifest('a.yaml', endpoint('x', 1))
  test.manifest('b.yaml', '')
  test.agent.readManifests()
  t.same(test.agent.problems, [])
  t.same(test.agent.view.endpoints(), before, 'nothing was applied again')
})

t.test('what was applied is written down, and endpoints keep their numbers', async (t) => {
  const test = new TestAgent()
  t.teardown(() => test.close())
  test.manifest('a.yaml', endpoint('a', 1) + endpoint('b', 2))
  test.agent.readManifests()
  const record = JSON.parse(readFileSync(test.path('state/applied.json'), 'utf8'))
  t.match(record, { version: 1, identities: [{ number: 256 }, { number: 257 }] })
  test.manifest('a.yaml', endpoint('b', 2))
  test.agent.readManifests()
  test.manifest('a.yaml', endpoint('c', 3) + endpoint('b', 2))
  test.agent.readManifests()
  const ids = Object.fromEntries(test.agent.view.endpoints().map(({ name, id }) => [name, id]))
  t.match(ids, { 'default/b': 2, 'default/c': 1 })
})

t.test('labels change in place: the endpoint keeps its port', async (t) => {
  const test = new TestAgent()
  t.teardown(() => test.close())
  test.manifest('a.yaml', endpoint('a', 1))
  test.agent.readManifests()
  const port = test.agent.controller.portOf(1)
  const changes = test.agent.maps.ports.changes
  test.manifest('a.yaml', endpoint('a', 1).replace('app: a', 'app: other'))
  test.agent.readManifests()
  t.equal(test.agent.controller.portOf(1), port)
  t.equal(test.agent.maps.ports.changes, changes, 'no device was let go')
  t.match(test.agent.view.endpoints()[1]?.labels, 'k8s:app=other')
})

t.test('one process has a role; it can be left and taken again', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-role-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  t.equal(holderOf(directory, Role.DATAPATH), undefined)
  takeRole(directory, Role.DATAPATH)
  t.equal(holderOf(directory, Role.DATAPATH), process.pid)
  takeRole(directory, Role.DATAPATH)
  const words = readFileSync(join(directory, 'owners'))
  t.equal(words.readInt32LE(4 * Role.DATAPATH), process.pid)
  leaveRole(directory, Role.DATAPATH)
  t.equal(holderOf(directory, Role.DATAPATH), undefined)
})

t.test('whose a role is cannot be told: that is no "nobody\'s"', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-role-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  t.equal(holderOf(join(directory, 'none'), Role.DATAPATH), undefined)
  mkdirSync(join(directory, 'owners'))
  t.throws(() => holderOf(directory, Role.DATAPATH), { code: 'EXDP_SHARED_MEMORY' })
})

t.test('a role of a process that is gone, or whose number is in use again, is free', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-role-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const words = new Int32Array(1024)
  // The parent runs, but began at another time than noted.
  words[Role.AGENT] = process.ppid
  words[Role.AGENT + 1] = 12_345
  writeFileSync(join(directory, 'owners'), Buffer.from(words.buffer))
  t.equal(holderOf(directory, Role.AGENT), undefined)
  takeRole(directory, Role.AGENT)
  t.equal(holderOf(directory, Role.AGENT), process.pid)
})

t.test('a role that another process has is refused, naming it', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-role-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const words = new Int32Array(1024)
  words[Role.AGENT] = process.ppid
  writeFileSync(join(directory, 'owners'), Buffer.from(words.buffer))
  t.throws(() => takeRole(directory, Role.AGENT), { code: 'EPROCESS_RUNNING' })
})

t.test('a manifest directory: only its own yaml and json files count', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-manifests-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  for (const name of ['b.yml', 'a.yaml', '.hidden.yaml', 'c.json', 'readme.txt', 'a.yaml.swp']) {
    writeFileSync(join(directory, name), '')
  }
  t.same([...readManifestDirectory(directory).files.keys()], ['a.yaml', 'b.yml', 'c.json'])
  t.equal(readManifestDirectory(join(directory, 'missing')).files.size, 0)
})

t.test(
  'maps keep the sizes that they were made with, and the field that differs is told',
  async (t) => {
    const it = new TestAgent()
    const text = readFileSync(it.path('node.yaml'), 'utf8').replace('events: 1024', 'events: 2048')
    const [node] = ofKind(parseDocuments(text, 'node.yaml'), 'Node')
    if (node === undefined) throw new Error('no node')
    const { sizes, problems } = chooseSizes(node.body, it.path('state'))
    t.match(sizes, { events: 1024, connections: 16_384 })
    t.match(problems.map(problemText), [
      /Node test: spec.maps.events: 2048, expected 1024, .*"ringpath cleanup --remove"/,
    ])
    t.same(chooseSizes(node.body, it.path('elsewhere')).sizes.events, 2048)
    await it.close()
  },
)

t.end()
