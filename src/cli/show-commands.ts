/** Commands that show the tables of a node; they work on its files too when nothing runs. */
import type { Command } from 'commander'
import type { EndpointRowView, IdentityRowView, IpcacheRowView } from '../observe/endpoint-view.js'
import type { MapEntryView, MapRowView } from '../observe/map-view.js'
import type { ServiceRowView } from '../observe/service-view.js'
import type { ConnectionView, NatView, PolicyEntryView } from '../observe/table-view.js'
import { CommandError } from './client.js'
import { type ShowOptions, wholeNumber, withOutput } from './options.js'
import { byteText, type Column, printRows } from './output.js'
import { allRows, openSource } from './source.js'

const ENDPOINTS: readonly Column<EndpointRowView>[] = [
  { title: 'ID', value: (r) => r.id },
  { title: 'NAME', value: (r) => r.name },
  { title: 'KIND', value: (r) => r.kind },
  { title: 'ADDRESS', value: (r) => r.address },
  { title: 'IDENTITY', value: (r) => r.identity },
  { title: 'DEVICE', value: (r) => r.device },
  { title: 'STATUS', value: (r) => (r.errno === 0 ? r.status : `${r.status} (errno ${r.errno})`) },
  { title: 'RX', value: (r) => r.receivedFrames },
  { title: 'TX', value: (r) => r.sentFrames },
  { title: 'LOST', value: (r) => r.dropped },
  { title: 'PORT', value: (r) => r.port, isWide: true },
  { title: 'MAC', value: (r) => r.mac, isWide: true },
  { title: 'XDP', value: (r) => r.xdp, isWide: true },
  { title: 'LABELS', value: (r) => r.labels, isWide: true },
]

const backendText = (row: ServiceRowView): string => {
  const all = row.backends.map((b) => {
    const state = b.state === 'active' ? '' : ` (${b.state})`
    return `${b.address}:${b.port}${state}`
  })
  return all.length === 0 ? 'none' : all.join(', ')
}

const SERVICES: readonly Column<ServiceRowView>[] = [
  { title: 'SERVICE', value: (r) => r.service || '?' },
  { title: 'FRONTEND', value: (r) => `${r.address}:${r.port}/${r.protocol}` },
  { title: 'TYPE', value: (r) => r.type },
  { title: 'BACKENDS', value: backendText },
  { title: 'ALGORITHM', value: (r) => r.algorithm, isWide: true },
  {
    title: 'AFFINITY',
    value: (r) => (r.affinitySeconds > 0 ? `${r.affinitySeconds} s` : ''),
    isWide: true,
  },
  { title: 'SCOPE', value: (r) => r.scope, isWide: true },
  { title: 'REVNAT', value: (r) => r.revNatIndex, isWide: true },
]

const POLICIES: readonly Column<PolicyEntryView>[] = [
  { title: 'POLICY', value: (r) => r.policy },
  { title: 'DIRECTION', value: (r) => r.direction },
  { title: 'ACTION', value: (r) => r.action },
  { title: 'PEER', value: (r) => (r.identity === 0 ? 'any' : `${r.identity} ${r.labels}`) },
  { title: 'PROTOCOL', value: (r) => r.protocol },
  { title: 'PORTS', value: (r) => r.ports },
  { title: 'RULE', value: (r) => r.rule || '(not enforced)' },
  { title: 'HITS', value: (r) => r.hits, isWide: true },
]

const IDENTITIES: readonly Column<IdentityRowView>[] = [
  { title: 'IDENTITY', value: (r) => r.identity },
  { title: 'LABELS', value: (r) => r.labels },
  { title: 'ADDRESSES', value: (r) => r.addresses },
  { title: 'ENDPOINTS', value: (r) => r.endpoints.join(', ') },
]

const IPCACHE: readonly Column<IpcacheRowView>[] = [
  { title: 'PREFIX', value: (r) => r.prefix },
  { title: 'IDENTITY', value: (r) => r.identity },
  { title: 'ENDPOINT', value: (r) => r.endpoint },
  { title: 'TUNNEL', value: (r) => r.tunnelEndpoint },
  { title: 'FLAGS', value: (r) => r.flags, isWide: true },
  { title: 'LABELS', value: (r) => r.labels, isWide: true },
]

const CONNECTIONS: readonly Column<ConnectionView>[] = [
  { title: 'SIDE', value: (r) => r.side },
  { title: 'PROTOCOL', value: (r) => r.protocol },
  { title: 'SOURCE', value: (r) => r.source },
  { title: 'DESTINATION', value: (r) => r.destination },
  { title: 'STATE', value: (r) => r.state },
  { title: 'EXPIRES', value: (r) => `${r.expiresSeconds} s` },
  { title: 'PACKETS', value: (r) => r.packets },
  { title: 'BYTES', value: (r) => byteText(r.bytes) },
  { title: 'FLAGS', value: (r) => r.flags, isWide: true },
  { title: 'IDENTITY', value: (r) => r.sourceIdentity, isWide: true },
  { title: 'REVNAT', value: (r) => r.revNatIndex || '', isWide: true },
]

const NAT: readonly Column<NatView>[] = [
  { title: 'DIRECTION', value: (r) => r.direction },
  { title: 'PROTOCOL', value: (r) => r.protocol },
  { title: 'SOURCE', value: (r) => r.source },
  { title: 'DESTINATION', value: (r) => r.destination },
  { title: 'BECOMES', value: (r) => r.translated },
  { title: 'AGE', value: (r) => `${r.ageSeconds} s` },
]

const MAPS: readonly Column<MapRowView>[] = [
  { title: 'MAP', value: (r) => r.name },
  { title: 'TYPE', value: (r) => r.type },
  { title: 'ENTRIES', value: (r) => r.entries },
  { title: 'CAPACITY', value: (r) => r.capacity },
  { title: 'USED', value: (r) => (r.pressure > 0 ? `${(r.pressure * 100).toFixed(1)} %` : '') },
  { title: 'EVICTED', value: (r) => r.evictions },
  { title: 'MEMORY', value: (r) => byteText(r.bytes) },
  { title: 'KEY', value: (r) => `${r.keyWords} words`, isWide: true },
  { title: 'VALUE', value: (r) => `${r.valueWords} words`, isWide: true },
  { title: 'STOLEN', value: (r) => r.locksStolen, isWide: true },
]

const ENTRIES: readonly Column<MapEntryView>[] = [
  { title: 'SLOT', value: (r) => r.slot },
  { title: 'KEY', value: (r) => r.key },
  { title: 'VALUE', value: (r) => r.value },
]

export function addShowCommands(program: Command): void {
  addEndpoint(program)
  addList<ServiceRowView>(
    program,
    'service',
    'services and their backends',
    '/v1/services',
    SERVICES,
  )
  addList<IdentityRowView>(program, 'identity', 'identities in use', '/v1/identities', IDENTITIES)
  addList<IpcacheRowView>(program, 'ipcache', 'who has which address', '/v1/ipcache', IPCACHE)
  addPaged<ConnectionView>(program, 'ct', 'connections', '/v1/conntrack', CONNECTIONS)
  addPaged<NatView>(program, 'nat', 'NAT mappings', '/v1/nat', NAT)
  addPolicy(program)
  addMap(program)
}

/** A noun with `list`, which is also what the noun alone does. */
function noun(program: Command, name: string, what: string): Command {
  return program.command(name).description(`show ${what}`)
}

function addList<T>(
  program: Command,
  name: string,
  what: string,
  path: string,
  columns: readonly Column<T>[],
): void {
  const list = noun(program, name, what)
    .command('list', { isDefault: true })
    .argument('[text]', 'only rows with this text')
  withOutput(list).action(async (text: string | undefined, options: ShowOptions) => {
    const source = await openSource(options)
    printRows(having(await source.get<T[]>(path), text), columns, options.output)
  })
}

const having = <T>(rows: readonly T[], text: string | undefined): readonly T[] =>
  text === undefined ? rows : rows.filter((row) => JSON.stringify(row).includes(text))

interface PagedOptions extends ShowOptions {
  readonly limit: number
}

function addPaged<T>(
  program: Command,
  name: string,
  what: string,
  path: string,
  columns: readonly Column<T>[],
): void {
  const list = noun(program, name, what)
    .command('list', { isDefault: true })
    .argument('[text]', 'only rows with this text, such as an address')
    .option('--limit <count>', 'rows at most', wholeNumber(1, 10_000_000), 1_000)
  withOutput(list).action(async (text: string | undefined, options: PagedOptions) => {
    const source = await openSource(options)
    const limit = text === undefined ? options.limit : Number.POSITIVE_INFINITY
    const rows = having(await allRows<T>(source, path, {}, limit), text)
    printRows(rows.slice(0, options.limit), columns, options.output)
  })
}

function addEndpoint(program: Command): void {
  const endpoint = noun(program, 'endpoint', 'endpoints, the host pair and uplinks')
  const list = endpoint.command('list', { isDefault: true })
  withOutput(list).action(async (options: ShowOptions) => {
    const source = await openSource(options)
    printRows(await source.get<EndpointRowView[]>('/v1/endpoints'), ENDPOINTS, options.output)
  })
  const one = endpoint.command('get').argument('<name>', 'its name or id')
  withOutput(one).action(async (name: string, options: ShowOptions) => {
    const row = await endpointRow(options, name)
    const format = options.output === 'table' ? 'yaml' : options.output
    printRows([row], ENDPOINTS, format)
  })
}

async function endpointRow(options: ShowOptions, name: string): Promise<EndpointRowView> {
  const source = await openSource(options)
  const rows = await source.get<EndpointRowView[]>('/v1/endpoints')
  const found = rows.find((r) => [`${r.id}`, r.name, r.name.replace('default/', '')].includes(name))
  if (found !== undefined) return found
  throw new CommandError(`no endpoint '${name}'; \`ringpath endpoint\` lists them`)
}

interface PolicyOptions extends PagedOptions {
  readonly endpoint?: string
}

function addPolicy(program: Command): void {
  const list = noun(program, 'policy', 'policy as the datapath has it')
    .command('list', { isDefault: true })
    .option('--endpoint <name>', 'of this endpoint alone, by name or id')
    .option('--limit <count>', 'rows at most', wholeNumber(1, 10_000_000), 1_000)
  withOutput(list).action(async (options: PolicyOptions) => {
    const source = await openSource(options)
    const { endpoint, limit } = options
    const query =
      endpoint === undefined ? {} : { endpoint: `${(await endpointRow(options, endpoint)).id}` }
    const rows = await allRows<PolicyEntryView>(source, '/v1/policies', query, limit)
    printRows(rows, POLICIES, options.output)
  })
}

function addMap(program: Command): void {
  const map = noun(program, 'map', 'maps, and their entries word by word')
  const list = map.command('list', { isDefault: true })
  withOutput(list).action(async (options: ShowOptions) => {
    const source = await openSource(options)
    printRows(await source.get<MapRowView[]>('/v1/maps'), MAPS, options.output)
  })
  const dump = map
    .command('dump')
    .argument('<name>', 'the map, as `ringpath map` lists it')
    .option('--limit <count>', 'entries at most', wholeNumber(1, 10_000_000), 1_000)
  withOutput(dump).action(async (name: string, options: PagedOptions) => {
    const source = await openSource(options)
    const path = `/v1/maps/${encodeURIComponent(name)}`
    const rows = await allRows<MapEntryView>(source, path, {}, options.limit)
    printRows(rows, ENTRIES, options.output)
  })
}
