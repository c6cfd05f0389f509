/** What the agent keeps in files: damaged ones are told and never written over. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Agent } from '../../src/daemon/agent.js'
import { Applied } from '../../src/daemon/applied.js'
import { DocumentStore } from '../../src/daemon/document-store.js'
import { readRecord } from '../../src/daemon/setup/setup-record.js'
import { problemText } from '../../src/k8s/problem.js'
import { endpoint, TestAgent } from '../support/test-agent.js'

type Test = typeof t

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
  const directory = directoryOf(t as Test)
  t.same(new Applied(directory).problems, [])
  t.same(readRecord(directory), { value: undefined, damage: undefined })
  writeFileSync(join(directory, 'applied.json'), '{"version":1,"objects":{},"identities":[]}')
  t.match(new Applied(directory).problems, [{ found: 'objects: {}' }])
  writeFileSync(join(directory, 'node-setup.json'), '{"version":1}')
  const aside = join(directory, 'node-setup.json.damaged')
  t.match(readRecord(directory), { value: undefined, damage: { path: aside } })
  t.ok(existsSync(aside))
})

t.end()
