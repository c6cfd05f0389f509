/** Mistakes made on purpose, ten and more in each kind of document: each answer names place and remedy. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readManifestDirectory } from '../../src/daemon/manifest-directory.js'
import { desiredState } from '../../src/k8s/desired-state.js'
import { ofKind, parseDocuments, readDocuments } from '../../src/k8s/documents.js'
import { noticesOf } from '../../src/k8s/notices.js'
import { problemText } from '../../src/k8s/problem.js'
import { suggestion } from '../../src/k8s/suggestion.js'
import { readTextFile } from '../../src/k8s/text-file.js'
import { TestAgent } from '../support/test-agent.js'

const NODE = `apiVersion: ringpath.io/v1
kind: Node
metadata: { name: n1 }
spec: { podCidrs: [10.0.1.0/24], host: { addresses: [10.0.0.1] } }
`

/** One right document of each kind that manifests may have. */
const DOCUMENTS: Readonly<Record<string, string>> = {
  Endpoint: `apiVersion: ringpath.io/v1
kind: Endpoint
metadata: { name: web, labels: { app: web } }
spec: { device: lxc-web, address: 10.0.1.2, mac: "02:00:00:00:00:01" }
`,
  Peer: `apiVersion: ringpath.io/v1
kind: Peer
metadata: { name: n2 }
spec: { address: 192.0.2.2, podCidrs: [10.0.2.0/24] }
`,
  Namespace: `apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { team: a } }
spec: {}
`,
  Service: `apiVersion: v1
kind: Service
metadata: { name: web }
spec: { clusterIP: 10.96.0.10, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
`,
  NetworkPolicy: `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p }
spec: { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] }
`,
  CiliumNetworkPolicy: `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: p }
spec: { endpointSelector: {}, ingress: [{ fromEntities: [world] }] }
`,
  CiliumClusterwideNetworkPolicy: `apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: { name: p }
spec: { endpointSelector: {}, ingress: [{ fromEntities: [world] }] }
`,
  CiliumEgressGatewayPolicy: `apiVersion: cilium.io/v2
kind: CiliumEgressGatewayPolicy
metadata: { name: out }
spec:
  selectors: [{ podSelector: {} }]
  destinationCIDRs: [0.0.0.0/0]
  egressGateway: { nodeSelector: {}, egressIP: 192.0.2.9 }
`,
  CiliumLocalRedirectPolicy: `apiVersion: cilium.io/v2
kind: CiliumLocalRedirectPolicy
metadata: { name: local }
spec:
  redirectFrontend: { addressMatcher: { ip: 192.0.2.9, toPorts: [{ port: "53", protocol: UDP }] } }
  redirectBackend: { localEndpointSelector: {}, toPorts: [{ port: "53", protocol: UDP }] }
`,
}

const told = (text: string): string =>
  readDocuments(text, 'f.yaml').problems.map(problemText).join('\n')

function together(text: string): string {
  const [node] = ofKind(parseDocuments(NODE, 'node.yaml'), 'Node')
  if (node === undefined) throw new Error('no node')
  const { documents } = readDocuments(text, 'f.yaml')
  return desiredState(documents, node.body).problems.map(problemText).join('\n')
}

type Change = (text: string) => string
const put =
  (from: string | RegExp, to: string): Change =>
  (text) =>
    text.replace(from, to)

/** Mistakes that any document can have. */
const MISTAKES: readonly (readonly [what: string, change: Change, told: RegExp])[] = [
  ['a field misspelt', put('metadata', 'metdata'), /metdata: .*, expected metadata, or a field/],
  ['spec misspelt', put('spec:', 'sepc:'), /sepc: .*, expected spec, or a field/],
  ['spec of another type', put(/spec:[\s\S]*/, 'spec: [1]\n'), /spec: \[1\], expected a mapping/],
  ['kind in lower case', put(/kind: (\w)/, 'kind: x$1'), /kind: "x\w+", expected \w+, or one of/],
  ['another version', put(/apiVersion: \S+/, 'apiVersion: v9'), /"v9", expected one of: /],
  [
    'no name',
    put(/name: \w+/, 'nam: x'),
    /metadata.name: nothing[\s\S]*metadata.nam: "x", expected name/,
  ],
  ['a name with capitals', put(/name: \w+/, 'name: Web'), /metadata.name: "Web", expected a name/],
  ['a name that is a number', put(/name: \w+/, 'name: 7'), /name: 7, expected .*, in quotes/],
  ['labels as a list', put(/metadata: \{ /, 'metadata: { labels: [a], '), /labels|a second time/],
  ['a tab', put('spec:', '\tspec:'), /:\d+: document 1: Tabs .*, expected YAML or JSON/],
  ['a key twice', put('metadata:', 'kind: x\nmetadata:'), /the key "kind" a second time/],
  ['cut off', (text) => text.trimEnd().slice(0, -1), /document 1: .*expected YAML or JSON|nothing/],
]

for (const [kind, document] of Object.entries(DOCUMENTS)) {
  t.test(`${kind}: right as it is, with CRLF, with a byte order mark`, async (t) => {
    t.equal(told(document), '')
    t.equal(together(document), '')
    t.equal(told(document.replaceAll('\n', '\r\n')), '')
    t.equal(told(`\ufeff${document}`), '')
  })
  t.test(`${kind}: what is wrong is told with its place and the remedy`, async (t) => {
    for (const [what, change, expected] of MISTAKES) {
      const text = told(change(document))
      t.match(text, expected, what)
      t.match(text, /^f\.yaml:\d+: /, `${what}: where`)
    }
    t.match(together(`${document}---\n${document}`), /an object that f.yaml does not have already/)
  })
}

t.test('what a single kind can have wrong', async (t) => {
  const of = (kind: string, from: string | RegExp, to: string) =>
    told(put(from, to)(DOCUMENTS[kind] ?? ''))
  const cases: [text: string, told: RegExp][] = [
    [of('Endpoint', '10.0.1.2', '10.0.1.2/32'), /spec.address: "10.0.1.2\/32", expected an IPv4/],
    [of('Endpoint', 'mac: "02:00:00:00:00:01"', 'mac: 2'), /spec.mac: 2, expected a MAC/],
    [of('Endpoint', 'lxc-web', 'a-device-that-is-too-long'), /a device name of 1 to 15 bytes/],
    [of('Peer', '10.0.2.0/24', '10.0.2.0'), /podCidrs\[0\]: "10.0.2.0", expected an IPv4 prefix/],
    [of('Peer', '10.0.2.0/24', '10.0.2.0/33'), /podCidrs\[0\]: "10.0.2.0\/33"/],
    [of('Service', 'port: 80', 'port: "80"'), /ports\[0\].port: "80", .*65535, without quotes/],
    [of('Service', 'ports:', 'prots:'), /spec.prots: .*, expected ports, or a field that is/],
    [of('NetworkPolicy', 'port: 80', 'port: 80, protocol: tcp'), /"tcp", expected one of TCP, UDP/],
    [of('NetworkPolicy', 'ingress', 'Ingress'), /spec.Ingress: .* expected ingress, or a field/],
    [
      of('CiliumNetworkPolicy', '[world]', '[wolrd]'),
      /fromEntities\[0\]: "wolrd", expected one of/,
    ],
    [of('CiliumNetworkPolicy', 'fromEntities: [world]', 'toFQDNs: []'), /toFQDNs: .* a field/],
    [of('CiliumEgressGatewayPolicy', '192.0.2.9', 'eth0'), /egressIP: "eth0", expected an IPv4/],
    [of('CiliumEgressGatewayPolicy', '[0.0.0.0/0]', '[]'), /destinationCIDRs: \[\], expected at/],
  ]
  for (const [text, expected] of cases) t.match(text, expected)
})

t.test('what only documents together can have wrong', async (t) => {
  const { Endpoint = '', Peer = '', Service = '' } = DOCUMENTS
  const other = (text: string) => `---\n${text.replace(/name: \w+/, 'name: other')}`
  const cases: [text: string, told: RegExp][] = [
    [Endpoint + other(Endpoint), /spec.device: "lxc-web", expected another one than that of/],
    [
      Endpoint.replace('10.0.1.2', '10.0.0.1'),
      /an address or prefix that the node itself does not/,
    ],
    [Peer + other(Peer), /spec.address: "192.0.2.2", .* that Peer n2 does not have/],
    [
      Peer + other(Peer).replace('192.0.2.2', '192.0.2.3'),
      /podCidrs\[0\]: "10.0.2.0\/24", .* Peer n2 does not have/,
    ],
    [Peer.replace('10.0.2.0', '10.0.1.0'), /podCidrs\[0\]: .* the node itself does not have/],
    [
      `${Peer}---\n${Endpoint.replace('10.0.1.2', '192.0.2.2')}`,
      /Endpoint web: spec.address: "192.0.2.2", .* Peer n2 does not have/,
    ],
    [Service + other(Service), /both have 10.96.0.10:80/],
  ]
  for (const [text, expected] of cases) t.match(together(text), expected)
})

t.test('names of things that are not there are noted, and refuse nothing', async (t) => {
  const notices = (text: string) => {
    t.equal(together(text), '')
    return noticesOf(parseDocuments(text, 'f.yaml')).map(problemText).join('\n')
  }
  const { Service = '', CiliumLocalRedirectPolicy: redirect = '' } = DOCUMENTS
  const matcher = (name: string, port: number) =>
    `{ serviceMatcher: { serviceName: ${name}, namespace: default,
    toPorts: [{ port: "${port}", protocol: UDP }] } }`
  const of = (name: string, port: number) =>
    redirect.replace(/(redirectFrontend: ).*/, (_, head) => `${head}${matcher(name, port)}`)
  t.match(notices(of('nobody', 53)), /serviceName: "nobody", expected a service of default that is/)
  t.match(
    notices(`${Service}---\n${of('web', 53)}`),
    /port: "53", expected a port of the .*: 80\/TCP/,
  )
  t.match(notices(Service.replace('8080', 'http')), /targetPort: "http", expected a number/)
  const slice = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
`
  t.match(notices(slice), /: "web", expected a service of default that is there/)
  t.equal(notices(`${slice}---\n${Service}`), '')
})

t.test('files that cannot be read say why', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-mistakes-'))
  const at = (name: string) => join(directory, name)
  mkdirSync(at('sub'))
  writeFileSync(at('right.yaml'), DOCUMENTS.Peer ?? '')
  symlinkSync('right.yaml', at('link.yaml'))
  symlinkSync('nothing', at('dangling.yaml'))
  symlinkSync('circle.yaml', at('circle.yaml'))
  writeFileSync(at('large.yaml'), 'a'.repeat(4 * 1024 * 1024 + 1))
  writeFileSync(at('latin.yaml'), Buffer.from([0x61, 0xe4, 0x62]))
  t.equal(readTextFile(at('link.yaml')), DOCUMENTS.Peer)
  t.throws(() => readTextFile(at('sub')), /a directory, expected a file/)
  t.throws(() => readTextFile(at('gone')), /no such file/)
  const { files, unreadable } = readManifestDirectory(directory)
  t.same([...files.keys()], ['link.yaml', 'right.yaml'])
  t.match(unreadable.get('dangling.yaml'), /no such file, or a link to one that is not there/)
  t.match(unreadable.get('circle.yaml'), /its links lead in a circle/)
  t.match(unreadable.get('large.yaml'), /4194305 bytes, expected at most 4194304/)
  t.match(unreadable.get('latin.yaml'), /not text in UTF-8/)
  t.equal(
    readManifestDirectory(at('none')).problem,
    'no such file, or a link to one that is not there',
  )
  rmSync(directory, { recursive: true })
})

t.test(
  'the agent tells of files it cannot read, and of a directory that is not there',
  async (t) => {
    const it = new TestAgent()
    symlinkSync('nothing', it.path('manifests/dangling.yaml'))
    it.agent.readManifests()
    t.match(it.agent.problems.map(problemText), [
      /^dangling.yaml: file: no such file.*can be read$/,
    ])
    rmSync(it.path('manifests'), { recursive: true })
    it.agent.readManifests()
    t.match(it.agent.problems.map(problemText), [
      /manifests: directory: no such file.*can be read$/,
    ])
    await it.close()
  },
)

t.test('a word is guessed when it is near, and not when it is far', async (t) => {
  const known = ['ingress', 'egress', 'ports', 'to']
  t.equal(suggestion('Ingress', known), 'ingress')
  t.equal(suggestion('prots', known), 'ports')
  t.equal(suggestion('port', known), 'ports')
  t.equal(suggestion('x', known), undefined)
  t.equal(suggestion('selector', known), undefined)
})

t.end()
