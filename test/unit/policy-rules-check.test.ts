/** Labels and selectors, and which rules are refused, and how. */
import t from 'tap'
import { CidrIndex } from '../../src/policy-rules/cidr-index.js'
import {
  type LabelSelector,
  LabelSet,
  selectorText,
  selects,
} from '../../src/policy-rules/labels.js'
import { checkRule } from '../../src/policy-rules/rule-check.js'
import type { RuleSpec } from '../../src/policy-rules/rule-spec.js'
import { type Cidr, formatCidr, parseCidr } from '../../src/wire/address.js'
import { seededPrng } from '../support/seed.js'

const web = new LabelSet({ 'k8s:app': 'web', 'k8s:tier': 'front', plain: 'yes' })

t.test('every part of a selector must match', async (t) => {
  const cases: [LabelSelector, boolean][] = [
    [{}, true],
    [{ matchLabels: { 'k8s:app': 'web' } }, true],
    [{ matchLabels: { 'k8s:app': 'db' } }, false],
    [{ matchLabels: { 'k8s:app': 'web', 'k8s:tier': 'back' } }, false],
    [{ matchExpressions: [{ key: 'k8s:app', operator: 'In', values: ['db', 'web'] }] }, true],
    [{ matchExpressions: [{ key: 'k8s:app', operator: 'NotIn', values: ['web'] }] }, false],
    [{ matchExpressions: [{ key: 'k8s:zone', operator: 'NotIn', values: ['a'] }] }, true],
    [{ matchExpressions: [{ key: 'k8s:tier', operator: 'Exists' }] }, true],
    [{ matchExpressions: [{ key: 'k8s:tier', operator: 'DoesNotExist' }] }, false],
  ]
  for (const [selector, expected] of cases) {
    t.equal(selects(selector, web), expected, JSON.stringify(selector))
  }
})

t.test('a key without a source, or with any:, finds the label of every source', async (t) => {
  for (const key of ['app', 'any:app', 'k8s:app']) {
    t.ok(selects({ matchLabels: { [key]: 'web' } }, web), key)
  }
  t.notOk(selects({ matchLabels: { 'container:app': 'web' } }, web))
  t.ok(selects({ matchLabels: { 'unspec:plain': 'yes' } }, web))
})

t.test('labels and selectors that say the same have the same text', async (t) => {
  t.equal(new LabelSet({ b: '1', a: '2' }).text, new LabelSet({ a: '2', 'unspec:b': '1' }).text)
  const one = { matchExpressions: [{ key: 'a', operator: 'In', values: ['x', 'y'] }] } as const
  const two = { matchExpressions: [{ key: 'any:a', operator: 'In', values: ['y', 'x'] }] } as const
  t.equal(selectorText(one), selectorText(two))
})

const rule = (fields: Partial<RuleSpec>): RuleSpec => ({
  name: 'web',
  endpointSelector: {},
  ...fields,
})
const withPort = (port: object): RuleSpec => rule({ ingress: [{ ports: [port as never] }] })
const withPeers = (peers: object): RuleSpec => rule({ ingress: [{ peers: peers as never }] })

t.test('what is wrong is refused by the name of its field', async (t) => {
  const cases: [RuleSpec, RegExp][] = [
    [rule({ name: '' }), /rule.name/],
    [rule({ nodeSelector: {} }), /exactly one of endpointSelector and nodeSelector/],
    [{ name: 'web' }, /exactly one/],
    [rule({ priority: -1 }), /rule 'web': priority: '-1', expected a whole number/],
    [withPort({ protocol: 'GRE' }), /ingress\[0\]\.ports\[0\]\.protocol: 'GRE'/],
    [withPort({ protocol: 'TCP', port: 0 }), /ports\[0\]\.port: '0'/],
    [withPort({ protocol: 'TCP', port: 80, endPort: 79 }), /endPort: '79'.*80 to 65535/],
    [withPort({ protocol: 'TCP', endPort: 79 }), /a number, with an endPort/],
    [withPort({ protocol: 'TCP', port: 'not_a_name' }), /a port name/],
    [
      rule({ egress: [{ ports: [{ protocol: 'TCP', port: 'http' }] }] }),
      /named ports are supported for ingress/,
    ],
    [rule({ ingress: [{ icmps: [{ type: 256 }] }] }), /icmps\[0\]\.type: '256'/],
    [withPeers({ entities: ['moon'] }), /entities\[0\]: 'moon'/],
    [withPeers({ cidrs: [{ cidr: '10.0.0.0/33' }] }), /cidrs\[0\]\.cidr/],
    [
      withPeers({ cidrs: [{ cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] }] }),
      /except\[0\]: '11.0.0.0\/16', expected a prefix within 10.0.0.0\/8/,
    ],
    [
      withPeers({ endpoints: [{ matchExpressions: [{ key: 'a', operator: 'Near' }] }] }),
      /operator: 'Near'/,
    ],
    [
      withPeers({ endpoints: [{ matchExpressions: [{ key: 'a', operator: 'In' }] }] }),
      /at least one value/,
    ],
  ]
  for (const [spec, message] of cases) {
    t.throws(() => checkRule(spec), { code: 'ECONFIG_INVALID', message }, String(message))
  }
})

t.test('what is not supported is refused by name, not overlooked', async (t) => {
  const authentication = { ...rule({}), ingress: [{ authentication: { mode: 'required' } }] }
  t.throws(() => checkRule(authentication as never), /authentication.*it is not supported/)
  const l7 = withPort({ protocol: 'TCP', port: 80, rules: { http: [] } })
  t.throws(() => checkRule(l7), /rules.*it is not supported/)
  t.throws(() => checkRule(withPeers({ fqdns: ['a.example'] })), /fqdns.*it is not supported/)
})

t.test('the prefixes within a prefix are found among others, as a plain search does', async (t) => {
  const prng = seededPrng(t)
  const index = new CidrIndex<string>()
  const all = new Map<string, Cidr>()
  const random = (): Cidr =>
    parseCidr(`10.${prng.below(4)}.${prng.below(4) * 64}.${prng.below(256)}/${6 + prng.below(27)}`)
  for (let i = 0; i < 400; i++) {
    const cidr = random()
    const text = formatCidr(cidr)
    if (all.has(text)) {
      index.delete(cidr)
      all.delete(text)
    } else {
      index.add(cidr, text)
      all.set(text, cidr)
    }
    const asked = random()
    const expected = [...all.keys()].filter((key) => isWithin(all.get(key) as Cidr, asked))
    t.same([...index.within(asked)].sort(), expected.sort())
  }
})

function isWithin(inner: Cidr, outer: Cidr): boolean {
  const masked = parseCidr(`${formatCidr(inner).split('/')[0]}/${outer.prefixBits - 96}`)
  return inner.prefixBits >= outer.prefixBits && formatCidr(masked) === formatCidr(outer)
}
