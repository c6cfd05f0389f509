/** The filters of flows: what each field takes, how several go together, and what is refused. */
import t from 'tap'
import type { Flow } from '../../src/observe/flow.js'
import { FLOW_FIELDS, type FlowFilter, flowMatcher } from '../../src/observe/flow-filter.js'
import { flowView } from '../../src/observe/flow-view.js'
import { NameBook } from '../../src/observe/names.js'
import { timeOf } from '../../src/observe/time-text.js'

const NOW = new Date('2026-03-04T12:00:00.000Z')
const names = new NameBook({
  objects: [
    { kind: 'Endpoint', name: 'default/client', spec: { id: 1, address: '10.0.1.1' } },
    { kind: 'Endpoint', name: 'shop/web-1', spec: { id: 2, address: '10.0.1.2' } },
    {
      kind: 'Service',
      name: 'shop/web:80',
      spec: { service: { frontends: [{ address: '10.96.0.9', port: 80, protocol: 'TCP' }] } },
    },
  ],
  identities: [
    { number: 256, labels: { 'k8s:app': 'client', 'k8s:tier': 'front' } },
    { number: 257, labels: { 'k8s:app': 'web' } },
  ],
  cookies: { 7: 'NetworkPolicy shop/web' },
})

const FLOW: Flow = {
  id: 1,
  time: '2026-03-04T11:55:00.000Z',
  monotonicSeconds: 1,
  verdict: 'DROPPED',
  dropCode: 133,
  dropReason: 'POLICY_DENIED',
  direction: 'ingress',
  protocol: 'TCP',
  source: '10.0.1.1',
  destination: '10.0.1.2',
  sourcePort: 40_000,
  destinationPort: 8_080,
  tcpFlags: 'SYN,ACK',
  sourceIdentity: 256,
  destinationIdentity: 257,
  endpoint: 2,
  ingressPort: 1,
  egressPort: -1,
  connection: 'new',
  ruleCookie: 7,
  stage: 13,
  bytes: 74,
  sample: '',
}
const ANSWER: Flow = {
  ...FLOW,
  verdict: 'FORWARDED',
  dropCode: 0,
  observationPoint: 'TO_ENDPOINT',
  source: '10.96.0.9',
  sourcePort: 80,
  destination: '10.0.1.1',
  sourceIdentity: 2,
}

const passes = (filter: FlowFilter, flow = FLOW): boolean =>
  flowMatcher(filter, () => names, NOW)(flow)

/** Field, values that the flow meets, and values that it does not meet. */
const FIELDS: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['verdict', ['dropped', 'DROPPED'], ['forwarded', 'policy-denied']],
  ['type', ['drop', 'DROP'], ['trace', 'policy-verdict', 'trace:to-stack']],
  ['reason', ['POLICY_DENIED', 'policy_denied', '133'], ['INVALID', '132']],
  ['source', ['10.0.1.1', '10.0.0.0/8'], ['10.0.1.2']],
  ['destination', ['10.0.1.2', '0.0.0.0/0'], ['10.0.1.1/32']],
  ['ip', ['10.0.1.1', '10.0.1.2'], ['192.0.2.1', 'fd00::/64']],
  ['sourcePort', ['40000'], ['8080']],
  ['destinationPort', ['8080'], ['40000']],
  ['port', ['40000', '8080'], ['80']],
  ['protocol', ['tcp', 'TCP', '6'], ['udp', '47']],
  ['tcpFlags', ['SYN', 'syn,ack'], ['RST', 'SYN,FIN']],
  ['sourceIdentity', ['256'], ['257']],
  ['destinationIdentity', ['257'], ['256']],
  ['identity', ['256', '257'], ['2']],
  ['sourcePod', ['client', 'default/client', 'default/', 'cli'], ['web-1', 'shop/', 'client-2']],
  ['destinationPod', ['shop/web', 'shop/'], ['web-1', 'default/web-1']],
  ['pod', ['client', 'shop/web-1'], ['web']],
  ['sourceLabel', ['app=client', 'k8s:app=client', 'tier', 'app, tier=front'], ['app=web', 'ap']],
  ['destinationLabel', ['app=web', 'app'], ['reserved:world']],
  ['label', ['app=web', 'tier=front'], ['tier=back']],
  ['endpoint', ['shop/web-1', '2'], ['client', '1']],
]

t.test('each field is met by its values, and by no others', async (t) => {
  for (const [field, met, missed] of FIELDS) {
    for (const value of met) t.ok(passes({ is: { [field]: [value] } }), `${field} ${value}`)
    for (const value of missed) t.notOk(passes({ is: { [field]: [value] } }), `${field} ${value}`)
  }
  const covered = [...FIELDS.map(([field]) => field), 'service', 'sourceService']
  t.same([...covered, 'destinationService'].sort(), [...FLOW_FIELDS].sort())
})

t.test('services are met by name, with or without a port', async (t) => {
  for (const value of ['shop/web', 'shop/web:80']) {
    t.ok(passes({ is: { sourceService: [value] } }, ANSWER), value)
    t.ok(passes({ is: { service: [value] } }, ANSWER), value)
    t.notOk(passes({ is: { destinationService: [value] } }, ANSWER), value)
  }
  t.notOk(passes({ is: { service: ['web'] } }, ANSWER), 'of another namespace')
  t.ok(passes({ is: { type: ['trace:to-endpoint'] } }, ANSWER))
})

t.test(
  'values of a field are alternatives, fields must all hold, negated ones must not',
  async (t) => {
    t.ok(passes({ is: { port: ['80', '8080'], protocol: ['tcp'] } }))
    t.notOk(passes({ is: { port: ['8080'], protocol: ['udp'] } }))
    t.notOk(passes({ not: { sourcePod: ['other', 'client'] } }))
    t.ok(passes({ is: { port: ['8080'] }, not: { sourcePod: ['other'] } }))
  },
)

t.test('times are spans back, clock times of today, or dates', async (t) => {
  t.ok(passes({ since: '10m', until: '1m' }))
  t.notOk(passes({ since: '1m' }))
  t.notOk(passes({ until: '1h30m' }))
  const cases: readonly (readonly [string, string])[] = [
    ['90s', '2026-03-04T11:58:30.000Z'],
    ['1h30m', '2026-03-04T10:30:00.000Z'],
    ['1.5d', '2026-03-03T00:00:00.000Z'],
    ['14:05', '2026-03-04T14:05:00.000Z'],
    ['2026-01-02', '2026-01-02T00:00:00.000Z'],
    ['2026-01-02 03:04', '2026-01-02T03:04:00.000Z'],
    ['2026-01-02T03:04:05+02:00', '2026-01-02T01:04:05.000Z'],
  ]
  for (const [text, iso] of cases) t.equal(timeOf('since', text, NOW), iso, text)
  for (const text of ['', 'yesterday', '5', '5 m', '25:00', '2026-13-01', '99999999999d']) {
    t.throws(
      () => timeOf('since', text, NOW),
      { code: 'ECONFIG_INVALID', message: /since: '/ },
      text,
    )
  }
})

t.test('what is no value of its field is refused, with what was expected', async (t) => {
  const wrong: readonly (readonly [string, string, RegExp])[] = [
    ['verdict', 'lost', /verdict: 'lost', expected one of FORWARDED, DROPPED/],
    ['type', 'drop:here', /type: 'drop:here', expected drop, trace/],
    ['reason', 'NONSENSE', /reason: 'NONSENSE', expected a number or one of/],
    ['source', '10.0.1', /source: '10.0.1', expected an address or prefix/],
    ['port', '70000', /port: '70000', expected a whole number from 0 to 65535/],
    ['identity', '-1', /identity: '-1', expected a whole number/],
    ['protocol', 'gre2', /protocol: 'gre2', expected tcp/],
    ['tcpFlags', 'SIN', /tcpFlags: 'SIN', expected some of FIN, SYN/],
    ['label', 'a,,b', /label: 'a,,b', expected labels such as/],
  ]
  for (const [field, value, message] of wrong) {
    const filter = { is: { [field]: [value] } }
    t.throws(() => flowMatcher(filter), { code: 'ECONFIG_INVALID', message }, field)
  }
})

t.test('a flow is shown with the names of both ends, of its stage and of its rule', async (t) => {
  t.match(flowView(FLOW, names), {
    sourcePod: 'default/client',
    destinationPod: 'shop/web-1',
    sourceLabels: ['k8s:app=client', 'k8s:tier=front'],
    endpointName: 'shop/web-1',
    stageName: 'IPV4_TO_ENDPOINT',
    rule: 'NetworkPolicy shop/web',
  })
  const view = flowView(ANSWER, names)
  t.match(view, { sourceService: 'shop/web:80', sourceLabels: ['reserved:world'] })
  t.notOk('destinationService' in view || 'sourcePod' in view, 'what has no name has no field')
})

t.end()
