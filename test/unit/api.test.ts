/** The API: what is served is what is described, errors are problems, requests are bounded. */

import { statSync } from 'node:fs'
import { connect } from 'node:net'
import t from 'tap'
import { ROUTES } from '../../src/daemon/api/routes.js'
import { ApiServer } from '../../src/daemon/api/server.js'
import { Metrics, NotedReason } from '../../src/monitor/metrics.js'
import type { Explanation } from '../../src/observe/explain.js'
import { Direction } from '../../src/packet/verdict.js'
import { endpoint, TestAgent } from '../support/test-agent.js'

const test = new TestAgent()
t.after(() => test.close())
const { api } = test
const yaml = { 'content-type': 'application/yaml' }
const json = { 'content-type': 'application/json' }

const get = async (url: string) => (await api.inject({ method: 'GET', url })).json()
const post = (url: string, payload: string, headers: Record<string, string> = yaml) =>
  api.inject({ method: 'POST', url, payload, headers })

t.test('every route is served and described, and nothing else is described', async (t) => {
  const named = ROUTES.map(({ method, path }) => `${method} ${path}`)
  t.same(api.served, named)
  const { paths } = await get('/v1/openapi.json')
  const described = Object.entries(paths as Record<string, object>).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  )
  t.same(described.sort(), named.sort())
  const ids = ROUTES.map(({ operation }) => operation)
  t.equal(new Set(ids).size, ids.length, 'operation ids are unique')
})

t.test('documents are applied whole, shown, and deleted', async (t) => {
  const text = endpoint('client', 1) + endpoint('server', 2)
  const shown = (await post('/v1/diff', text)).json()
  t.same(
    shown.changes.map((c: { action: string; kind: string }) => `${c.action} ${c.kind}`),
    ['create Settings', 'create Host', 'create Endpoint', 'create Endpoint'],
  )
  t.same(await get('/v1/endpoints'), [], 'diff does nothing')
  const applied = (await post('/v1/apply', text)).json()
  t.same(applied.failures, [])
  t.same(applied.changes, shown.changes, 'apply does what diff showed')
  t.same(
    (await get('/v1/endpoints')).map((row: { name: string }) => row.name),
    ['host', 'default/client', 'default/server'],
  )
  t.same((await post('/v1/diff', text)).json().changes, [])
  t.match(await get('/v1/objects'), [{ key: 'Endpoint default/client', source: 'api' }, {}])
  const remove = await api.inject({ method: 'DELETE', url: '/v1/objects/Endpoint/default/server' })
  t.match(remove.json(), { changes: [{ action: 'delete', name: 'default/server' }] })
  t.equal((await get('/v1/endpoints')).length, 2)
  t.equal((await post('/v1/apply', endpoint('server', 2))).statusCode, 200)
})

t.test('one wrong document and none is applied; each problem is in the answer', async (t) => {
  const before = await get('/v1/objects')
  const answer = await post('/v1/apply', `${endpoint('a', 5)}${endpoint('b', 1)}---\nkind: X\n`)
  t.equal(answer.statusCode, 422)
  t.match(answer.headers['content-type'], 'application/problem+json')
  t.match(answer.json(), { type: 'urn:ringpath:ECONFIG_INVALID', status: 422 })
  t.match(answer.json().problems, [{ source: 'api', object: 'document 3', field: 'apiVersion' }])
  const shared = (await post('/v1/apply', endpoint('b', 1))).json()
  t.match(shared.detail, 'spec.address: "10.0.1.1", expected another one than that of Endpoint')
  t.same(await get('/v1/objects'), before)
})

t.test('an object of a file is not changed or deleted over the API', async (t) => {
  test.manifest('file.yaml', endpoint('file', 3))
  test.agent.readManifests()
  const url = '/v1/objects/Endpoint/default/file'
  const remove = await api.inject({ method: 'DELETE', url })
  t.equal(remove.statusCode, 409)
  t.match(remove.json().detail, 'file.yaml')
  t.match((await post('/v1/apply', endpoint('file', 4))).json().detail, 'declares it')
  const unknown = await api.inject({ method: 'DELETE', url: '/v1/objects/Endpoint/default/nobody' })
  t.equal(unknown.statusCode, 404)
})

t.test('a trace names the endpoints, the policy and the rule', async (t) => {
  const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: server-in }
spec:
  podSelector: { matchLabels: { app: server } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: client } } }], ports: [{ port: 80 }] }]
`
  t.same((await post('/v1/apply', policy)).json().failures, [])
  const trace = async (port: number): Promise<Explanation> => {
    const packet = { in: 'client', destination: 'server', protocol: 'tcp', destinationPort: port }
    return (await post('/v1/trace', JSON.stringify(packet), json)).json() as Explanation
  }
  const allowed = await trace(80)
  t.match(allowed, { verdict: 'FORWARDED', ingress: 'default/client', egress: /default\/server/ })
  const notes = allowed.steps.flatMap((step) => step.notes).join('\n')
  t.match(notes, /ingress policy of default\/server: allowed .*NetworkPolicy default\/server-in/)
  const denied = await trace(81)
  t.match(denied, { verdict: 'DROPPED', dropCode: 133, dropReason: 'POLICY_DENIED' })
  t.match(denied.advice, 'no rule allows')
  t.equal(test.agent.maps.conntrackTable.size, 0, 'the maps in use are as before')
  t.same(test.agent.view.counters(), [], 'and nothing was counted')
})

t.test('a trace of what cannot be is refused by field', async (t) => {
  const trace = async (packet: object) =>
    (await post('/v1/trace', JSON.stringify(packet), json)).json().detail
  t.match(await trace({}), 'body.in')
  const packet = { in: 'client', destination: 'server', protocol: 'tcp', destinationPort: 80 }
  t.match(await trace({ ...packet, in: 'nobody' }), "packet.in: 'nobody', expected an endpoint")
  t.match(await trace({ ...packet, destination: 'x' }), "packet.destination: 'x'")
  t.match(await trace({ ...packet, destinationPort: 70_000 }), 'packet.destinationPort')
  t.match(await trace({ ...packet, tcpFlags: 'SYN,XYZ' }), 'packet.tcpFlags')
  t.match(await trace({ ...packet, payloadBytes: 1e9 }), 'packet.payloadBytes')
})

t.test('tables come in pages, and a page says where the next begins', async (t) => {
  const first = await get('/v1/policies?limit=2')
  t.equal(first.rows.length, 2)
  const second = await get(`/v1/policies?limit=2&cursor=${first.next}`)
  t.ok(second.rows.length > 0)
  t.notSame(first.rows, second.rows)
  t.same(await get('/v1/conntrack'), { rows: [] })
  t.match(await get('/v1/maps/ipcache?limit=1'), { rows: [{ slot: Number }] })
})

t.test('every table of the API answers', async (t) => {
  for (const { method, path, produces } of ROUTES) {
    if (method !== 'GET' || path.includes('{') || path === '/v1/health') continue
    const answer = await api.inject({ method, url: path })
    t.equal(answer.statusCode, 200, path)
    if (produces === undefined) t.type(answer.json(), 'object', path)
  }
  t.equal((await api.inject({ url: '/v1/health' })).statusCode, 503, 'no datapath runs')
})

t.test('metrics are Prometheus text with help for each', async (t) => {
  const { body } = await api.inject({ url: '/v1/metrics' })
  const names = [...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
  t.ok(names.length >= 15)
  for (const name of names) t.match(body, new RegExp(`^# HELP ${name} \\S`, 'm'))
  t.match(body, /ringpath_datapath_up 0/)
  t.match(body, /ringpath_map_pressure\{map="ipcache"\}/)
})

t.test('what is counted beside a packet’s fate is no drop', async (t) => {
  const counters = new Metrics(test.agent.view.maps.metrics, 0)
  counters.count(NotedReason.FRAGMENT, Direction.EGRESS, 1500)
  counters.count(133, Direction.EGRESS, 60)
  const codes = test.agent.view.counters().map(({ code }) => code)
  t.same(codes, [133])
  const { body } = await api.inject({ url: '/v1/metrics' })
  t.match(body, /ringpath_noted_count_total\{reason="FRAGMENT",direction="egress"\} 1/)
  t.match(body, /ringpath_drop_count_total\{reason="POLICY_DENIED",direction="egress"\} 1/)
  t.notMatch(body, /ringpath_drop_count_total\{reason="(FRAGMENT|DROP_9)"/)
  t.match(body, /ringpath_map_refused_total\{map="ipcache"\} 0/)
})

t.test('requests that are wrong or too large are refused', async (t) => {
  const status = async (url: string) => (await api.inject({ url })).statusCode
  t.equal(await status('/v1/conntrack?limit=1000000'), 400)
  t.equal(await status('/v1/conntrack?x=1'), 400)
  t.equal(await status('/v1/flows?port=99999'), 422)
  t.equal(await status('/v1/flows?ip=nonsense'), 422)
  t.equal(await status('/v1/flows/1'), 404)
  t.equal(await status('/v1/maps/..%2f..%2fetc%2fpasswd'), 422)
  t.equal(await status('/v1/nothing'), 404)
  t.equal((await post('/v1/apply', 'x'.repeat(2_000_000))).statusCode, 413)
  t.equal((await post('/v1/apply', 'x', { 'content-type': 'image/png' })).statusCode, 415)
  t.equal((await post('/v1/trace', '{', json)).statusCode, 400)
  const capture = { 'content-type': 'application/vnd.tcpdump.pcap' }
  t.equal((await post('/v1/replay', 'no capture', capture)).statusCode, 422)
})

t.test('errors of a request name the field, its value, and what was expected', async (t) => {
  const detail = async (url: string) => (await get(url)).detail as string
  t.equal(await detail('/v1/conntrack?limit=0'), "query.limit: '0', expected 1 or more")
  t.equal(await detail('/v1/conntrack?limit=x'), "query.limit: 'x', expected a whole number")
  t.equal(await detail('/v1/flows?follow=yes'), "query.follow: 'yes', expected one of true, false")
  t.equal(await detail('/v1/flows?colour=red'), 'query.colour: not a field here')
  t.match(
    await detail('/v1/flows?not.port=x'),
    "port: 'x', expected a whole number from 0 to 65535",
  )
  t.match(await detail('/v1/flows?since=soon'), "since: 'soon', expected a span")
  const several = await api.inject({ url: '/v1/flows?port=1&port=2' })
  t.equal(several.statusCode, 200, 'several values of one field')
  const trace = (await post('/v1/trace', '{"in":1,"protocol":"tcp"}', json)).json().detail
  t.equal(trace, 'body.in: 1, expected a string; body.destination: nothing, expected a string')
  const none = await post('/v1/apply', ' ')
  t.equal(none.json().detail, 'body: nothing, expected documents as YAML or JSON')
})

t.test('who fills the tables is told', async (t) => {
  t.match(await get('/v1/top?limit=3'), {
    connections: { entries: 0, capacity: 16_384, evictions: 0, sources: [] },
    nat: { exhausted: 0, destinations: [], sources: [] },
  })
})

t.test('the log level changes while it runs', async (t) => {
  const payload = JSON.stringify({ level: 'error' })
  const put = await api.inject({ method: 'PUT', url: '/v1/log-level', payload, headers: json })
  t.same(put.json(), { level: 'error' })
  const wrong = await api.inject({
    method: 'PUT',
    url: '/v1/log-level',
    payload: JSON.stringify({ level: 'loud' }),
    headers: json,
  })
  t.equal(wrong.statusCode, 400)
  test.agent.log.level = 'silent'
})

t.test('a group that is not there is told by its field, and nothing listens', async (t) => {
  const other = new ApiServer(test.agent)
  const path = test.path('other.sock')
  const expected = /spec.api.group: 'rp-nobody', expected a group of this system/
  await t.rejects(other.listen(path, 'rp-nobody'), { code: 'ECONFIG_INVALID', message: expected })
  const connected = new Promise((resolve) => connect(path).on('error', resolve))
  t.match(await connected, { code: /ENOENT|ECONNREFUSED/ })
})

t.test(
  'the socket is for its owner and group alone, and takes a bound of connections',
  async (t) => {
    const path = test.path('api.sock')
    await api.listen(path)
    t.equal(statSync(path).mode & 0o777, 0o660)
    t.equal(statSync(test.path('state')).mode & 0o777, 0o700, 'and its directory for its owner')
    const sockets = Array.from({ length: 80 }, () => connect(path))
    const closed = sockets.map(
      (socket) =>
        new Promise<boolean>((resolve) => {
          socket.on('error', () => resolve(true))
          socket.on('close', () => resolve(true))
          setTimeout(() => resolve(false), 500)
        }),
    )
    const ended = (await Promise.all(closed)).filter(Boolean).length
    t.ok(ended >= 16, `${ended} of 80 were refused`)
    for (const socket of sockets) socket.destroy()
  },
)

t.end()
