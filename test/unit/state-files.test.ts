/** What the agent keeps in files: damaged ones are told, and so is what cannot be written. */
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Agent } from '../../src/daemon/agent.js'
import { Applied } from '../../src/daemon/applied.js'
import { DocumentStore } from '../../src/daemon/document-store.js'
import { readRecord } from '../../src/daemon/setup/setup-record.js'
import { problemText } from '../../src/k8s/problem.js'
import { endpoint, TestAgent } from '../support/test-agent.js'

function directoryOf(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'rp-files-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

const DAMAGED: readonly (readonly [what: string, text: string, found: RegExp])[] = [
  ['cut off', '{"version":1,"files":{"a.yaml":"kind: Endp', /42 characters that are no JSON/],
  ['empty', '', /0 characters that are no JSON/],
  ['of another version', '{"version":2,"files":{},"objects":{}}', /version: 2/],
  ['a list', '[]', /\[\]/],
  ['without objects', '{"version":1,"files":{}}', /objects: nothing/],
  ['of other fields', '{"version":1,"files":{"a":1},"objects":{}}', /files: {"a":1}/],
]

for (const [what, text, found] of DAMAGED) {
  t.test(`documents.json ${what}: the agent does not begin, the file stays`, async (t) => {
    const test = new TestAgent()
    t.teardown(() => test.close())
    const path = test.path('data/documents.json')
    writeFileSync(path, text)
    const begin = () => new Agent(test.agent.node, test.agent.log)
    t.throws(begin, { code: 'ECONFIG_INVALID', message: found })
    t.throws(begin, { message: `${path}: ` })
    t.throws(begin, { message: /, expected .*move it away to begin without/ })
    t.equal(readFileSync(path, 'utf8'), text)
  })
}

t.test('documents.json that cannot be read is not taken for none', async (t) => {
  const test = new TestAgent()
  t.teardown(() => test.close())
  mkdirSync(test.path('data/documents.json'))
  t.throws(() => new DocumentStore(test.path('data/documents.json'), test.agent.node), {
    code: 'ECONFIG_INVALID',
    message: /documents\.json: EISDIR/,
  })
})

t.test('applied.json damaged: told, put aside, everything is applied anew', async (t) => {
  const test = new TestAgent()
  t.teardown(() => test.close())
  test.manifest('a.yaml', endpoint('a', 1))
  test.agent.readManifests()
  const path = test.path('state/applied.json')
  truncateSync(path, 50)
  const begin = () => {
    const agent = new Agent(test.agent.node, test.agent.log)
    return agent.problems.map(problemText)
  }
  t.match(begin(), [/state\/applied\.json\.damaged: file: 50 characters .*, expected .*cleanup/])
  t.notOk(existsSync(path))
  t.equal(readFileSync(`${path}.damaged`, 'utf8').length, 50)
  t.match(begin(), [/50 characters/], 'until somebody removes the file')
  rmSync(`${path}.damaged`)
  t.same(begin(), [])
})

t.test('a record of another shape is damaged, too; none is none', async (t) => {
  const directory = directoryOf(t)
  t.same(new Applied(directory).problems, [])
  t.same(readRecord(directory), { value: undefined, damage: undefined })
  writeFileSync(join(directory, 'applied.json'), '{"version":1,"objects":{},"identities":[]}')
  t.match(new Applied(directory).problems, [{ found: 'objects: {}' }])
  writeFileSync(join(directory, 'node-setup.json'), '{"version":1}')
  const aside = join(directory, 'node-setup.json.damaged')
  t.match(readRecord(directory), { value: undefined, damage: { path: aside } })
  t.ok(existsSync(aside))
})

/** Nothing can take the place of a directory: a write fails, for root too, until it is removed. */
function block(path: string): void {
  rmSync(path, { force: true })
  mkdirSync(path)
}

/** One that has read a manifest, and could not write this file. */
function agentWithout(t: Test, file: string) {
  const test = new TestAgent()
  t.teardown(() => test.close())
  const path = test.path(file)
  block(path)
  test.manifest('a.yaml', endpoint('a', 1))
  test.agent.readManifests()
  return { test, path }
}

t.test('documents that cannot be written: told once, the state in force stays', async (t) => {
  const test = new TestAgent()
  t.teardown(() => test.close())
  const { agent } = test
  const logged: string[] = []
  agent.log.error = (...args: unknown[]) => logged.push(String(args.at(-1)))
  const names = () => agent.view.endpoints().map(({ name }) => name)
  const path = test.path('data/documents.json')
  test.manifest('a.yaml', endpoint('a', 1))
  agent.readManifests()
  block(path)
  test.manifest('b.yaml', endpoint('b', 2))
  agent.readManifests()
  t.match(agent.problems.map(problemText), [
    `${path}: file: not written: EISDIR, illegal operation on a directory, expected a file system`,
  ])
  t.same(names(), ['host', 'default/a'])
  t.equal(agent.store.isBehind, true)
  agent.readManifests(true)
  agent.readManifests(true)
  t.equal(logged.length, 1, logged.join('\n'))
  const answer = await test.api.inject({
    method: 'POST',
    url: '/v1/apply',
    headers: { 'content-type': 'application/yaml' },
    payload: endpoint('c', 3),
  })
  t.equal(answer.statusCode, 500)
  t.match(answer.json().detail, `${path}: not written: EISDIR`)
  t.same(names(), ['host', 'default/a'], 'a request is in force whole, or not at all')
  rmSync(path, { recursive: true })
  agent.readManifests(true)
  t.same(agent.problems, [])
  t.same(names(), ['host', 'default/a', 'default/b'])
  t.equal(agent.store.isBehind, false)
})

t.test('an agent that begins without room has its manifests in force, and tells', async (t) => {
  const { test, path } = agentWithout(t, 'data/documents.json')
  t.match(test.agent.problems, [{ source: path, found: /not written/ }])
  t.equal(test.agent.view.endpoints().length, 2)
  rmSync(path, { recursive: true })
  test.agent.readManifests(true)
  t.same(test.agent.problems, [])
  t.same(new DocumentStore(path, test.agent.node).state.documents.length, 1)
})

t.test('a record that cannot be written is told, and what it says is in force', async (t) => {
  const { test, path } = agentWithout(t, 'state/applied.json')
  t.match(test.agent.problems, [{ source: path, found: /not written: EISDIR/ }])
  t.equal(test.agent.view.endpoints().length, 2)
  rmSync(path, { recursive: true })
  test.manifest('b.yaml', endpoint('b', 2))
  test.agent.readManifests()
  t.same(test.agent.problems, [])
  t.match(JSON.parse(readFileSync(path, 'utf8')).objects, { length: 4 })
})

t.test('a log on a full disk loses lines, and stops nobody', async (t) => {
  const url = new URL('../../src/daemon/log.js', import.meta.url)
  const text = `import { makeLog } from '${url}'
    makeLog('info').info('one')
    makeLog('info').info('two')
    console.error('goes on')`
  const full = openSync('/dev/full', 'w')
  const args = ['--input-type=module', '--eval', text]
  const { status, stderr } = spawnSync(process.execPath, args, { stdio: ['ignore', full, 'pipe'] })
  closeSync(full)
  t.equal(`${stderr}`.trim(), 'goes on')
  t.equal(status, 0)
})

t.end()
