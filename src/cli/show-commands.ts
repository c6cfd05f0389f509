/** Commands that show the tables of a node; they work on its files too when nothing runs. */
import type { Command } from 'commander'
import type { EndpointRowView, IdentityRowView, IpcacheRowView } from '../observe/endpoint-view.js'
import type { MapEntryView, MapRowView } from '../observe/map-view.js'
import type { ServiceRowView } from '../observe/service-view.js'
import type { ConnectionView, NatView, PolicyEntryView } from '../observe/table-view.js'
import { POLICY_NUMBER_MASK } from '../policy/policy-key.js'
import { CommandError } from './client.js'
import { type ShowOptions, wholeNumber, withOutput } from './options.js'
import { byteText, type Column, printRows, printValue, yamlText } from './output.js'
import { allRows, openSource } from './source.js'

const ENDPOINTS: readonly Column<EndpointRowView>[] = [
  { title: 'ID', value: (r) => r.id, isNumber: true },
  { title: 'NAME', value: (r) => r.name },
  { title: 'KIND', value: (r) => r.kind },
  { title: 'ADDRESS', value: (r) => r.address },
  { title: 'IDENTITY', value: (r) => r.identity, isNumber: true },
  { title: 'DEVICE', value: (r) => r.device },
  { title: 'STATUS', value: (r) => (r.errno === 0 ? r.status : `${r.status} (errno ${r.errno})`) },
  { title: 'RX', value: (r) => r.receivedFrames, isNumber: true },
  { title: 'TX', value: (r) => r.sentFrames, isNumber: true },
  { title: 'LOST', value: (r) => r.dropped, isNumber: true },
  { title: 'PORT', value: (r) => r.port, isWide: true, isNumber: true },
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
  { title: 'REVNAT', value: (r) => r.revNatIndex, isWide: true, isNumber: true },
]

/** An entry of a policy, with whom it is for. */
interface PolicyRow extends PolicyEntryView {
  readonly endpoints: readonly string[]
}

const POLICIES: readonly Column<PolicyRow>[] = [
  { title: 'ENDPOINT', value: (r) => r.endpoints.join(', ') || '-' },
  { title: 'DIRECTION', value: (r) => r.direction },
  { title: 'ACTION', value: (r) => r.action },
  { title: 'PEER', value: (r) => (r.identity === 0 ? 'any' : `${r.identity} ${r.labels}`) },
  { title: 'PROTOCOL', value: (r) => r.protocol },
  { title: 'PORTS', value: (r) => r.ports },
  { title: 'RULE', value: (r) => r.rule || '(no policy: open)' },
  { title: 'HITS', value: (r) => r.hits, isWide: true, isNumber: true },
  { title: 'POLICY', value: (r) => r.policy, isWide: true, isNumber: true },
]

const IDENTITIES: readonly Column<IdentityRowView>[] = [
  { title: 'IDENTITY', value: (r) => r.identity, isNumber: true },
  { title: 'LABELS', value: (r) => r.labels },
  { title: 'ADDRESSES', value: (r) => r.addresses, isNumber: true },
  { title: 'ENDPOINTS', value: (r) => r.endpoints.join(', ') },
]

const IPCACHE: readonly Column<IpcacheRowView>[] = [
  { title: 'PREFIX', value: (r) => r.prefix },
  { title: 'IDENTITY', value: (r) => r.identity, isNumber: true },
  { title: 'ENDPOINT', value: (r) => r.endpoint },
  { title: 'TUNNEL', value: (r) => r.tunnelEndpoint },
  { title: 'FLAGS', value: (r) => r.flags, isWide: true },
  { title: 'LABELS', value: (r) => r.labels, isWide: true },
]

/** Entries that have expired stay until a sweep, or until a packet finds them. */
const expiryText = ({ expiresSeconds }: ConnectionView): string =>
  expiresSeconds <= 0 ? 'expired' : `${expiresSeconds} s`

const CONNECTIONS: readonly Column<ConnectionView>[] = [
  { title: 'SIDE', value: (r) => r.side },
  { title: 'PROTOCOL', value: (r) => r.protocol },
  { title: 'SOURCE', value: (r) => r.source },
  { title: 'DESTINATION', value: (r) => r.destination },
  { title: 'STATE', value: (r) => r.state },
  { title: 'EXPIRES', value: expiryText, isNumber: true },
  { title: 'PACKETS', value: (r) => r.packets, isNumber: true },
  { title: 'BYTES', value: (r) => byteText(r.bytes), isNumber: true },
  { title: 'FLAGS', value: (r) => r.flags, isWide: true },
  { title: 'IDENTITY', value: (r) => r.sourceIdentity, isWide: true, isNumber: true },
  { title: 'REVNAT', value: (r) => r.revNatIndex || '', isWide: true, isNumber: true },
]

const NAT: readonly Column<NatView>[] = [
  { title: 'DIRECTION', value: (r) => r.direction },
  { title: 'PROTOCOL', value: (r) => r.protocol },
  { title: 'SOURCE', value: (r) => r.source },
  { title: 'DESTINATION', value: (r) => r.destination },
  { title: 'BECOMES', value: (r) => r.translated },
  { title: 'AGE', value: (r) => `${r.ageSeconds} s`, isNumber: true },
]

const usedText = ({ pressure }: MapRowView): string => {
  if (pressure === 0) return ''
  return pressure < 0.001 ? '< 0.1 %' : `${(pressure * 100).toFixed(1)} %`
}

const MAPS: readonly Column<MapRowView>[] = [
  { title: 'MAP', value: (r) => r.name },
  { title: 'TYPE', value: (r) => r.type },
  { title: 'ENTRIES', value: (r) => r.entries, isNumber: true },
  { title: 'CAPACITY', value: (r) => r.capacity, isNumber: true },
  { title: 'USED', value: usedText, isNumber: true },
  { title: 'EVICTED', value: (r) => r.evictions, isNumber: true },
  { title: 'MEMORY', value: (r) => byteText(r.bytes), isNumber: true },
  { title: 'KEY', value: (r) => `${r.keyWords} words`, isWide: true },
  { title: 'VALUE', value: (r) => `${r.valueWords} words`, isWide: true },
  { title: 'STOLEN', value: (r) => r.locksStolen, isWide: true, isNumber: true },
]

const ENTRIES: readonly Column<MapEntryView>[] = [
  { title: 'SLOT', value: (r) => r.slot, isNumber: true },
  { title: 'KEY', value: (r) => r.key },
  { title: 'VALUE', value: (r) => r.value },
]

export function addShowCommands(program: Command): void {
  addEndpoint(program)
  const services = 'services and their backends'
  addList<ServiceRowView>(program, 'service', services, '/v1/services', SERVICES)
  addPolicy(program)
  addList<IdentityRowView>(program, 'identity', 'identities in use', '/v1/identities', IDENTITIES)
  addList<IpcacheRowView>(program, 'ipcache', 'who has which address', '/v1/ipcache', IPCACHE)
  addPaged<ConnectionView>(program, 'ct', 'tracked connections', '/v1/conntrack', CONNECTIONS)
  addPaged<NatView>(program, 'nat', 'NAT mappings', '/v1/nat', NAT)
  addMap(program)
}

/**
 * A noun shows its list; `list` after it does the same, for those who look for a verb there. Options
 * behind a verb are the verb's.
 */
function noun(
  program: Command,
  name: string,
  what: string,
  define: (list: Command) => void,
): Command {
  const command = program.command(name).description(what)
  define(command)
  define(command.command('list', { hidden: true }).description(what))
  return command
}

const TEXT = ['[text]', 'only rows with this text, such as a name or an address'] as const

function addList<T extends object>(
  program: Command,
  name: string,
  what: string,
  path: string,
  columns: readonly Column<T>[],
): Command {
  return noun(program, name, what, (list) => {
    withOutput(list.argument(...TEXT)).action(
      async (text: string | undefined, options: ShowOptions) => {
        const source = await openSource(options)
        printRows(having(await source.get<T[]>(path), text), columns, options.output)
      },
    )
  })
}

/** Values alone: a text is not to be found in the names of fields. */
const having = <T extends object>(rows: readonly T[], text: string | undefined): readonly T[] =>
  text === undefined ? rows : rows.filter((row) => textOf(row).includes(text.toLowerCase()))

const textOf = (row: object): string =>
  Object.values(row)
    .map((value) => (typeof value === 'object' ? JSON.stringify(value) : `${value}`))
    .join('\n')
    .toLowerCase()

interface PagedOptions extends ShowOptions {
  readonly limit: number
}

const withLimit = (command: Command, what: string): Command =>
  withOutput(
    command.option('--limit <count>', `${what} at most`, wholeNumber(1, 10_000_000), 1_000),
  )

function addPaged<T extends object>(
  program: Command,
  name: string,
  what: string,
  path: string,
  columns: readonly Column<T>[],
): void {
  noun(program, name, what, (list) => {
    withLimit(list.argument(...TEXT), 'rows').action(
      async (text: string | undefined, options: PagedOptions) => {
        const source = await openSource(options)
        const limit = text === undefined ? options.limit + 1 : Number.POSITIVE_INFINITY
        const rows = having(await allRows<T>(source, path, {}, limit), text)
        printLimited(rows, columns, options)
      },
    )
  })
}

/** What is left out is told, not passed over. @param rows one more than the limit, if there are */
function printLimited<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  { limit, output }: PagedOptions,
): void {
  printRows(rows.slice(0, limit), columns, output)
  if (rows.length > limit) console.error(`there are more: --limit ${limit * 10} shows them`)
}

function addEndpoint(program: Command): void {
  const what = 'endpoints, the host pair and uplinks'
  const endpoint = addList<EndpointRowView>(program, 'endpoint', what, '/v1/endpoints', ENDPOINTS)
  const one = endpoint
    .command('get')
    .description('all that is known of one')
    .argument('<name>', 'its name or id')
  withOutput(one).action(async (name: string, options: ShowOptions) => {
    const row = await endpointRow(options, name)
    printValue(row, options.output, () => yamlText(row))
  })
}

async function endpointRow(options: ShowOptions, name: string): Promise<EndpointRowView> {
  const source = await openSource(options)
  const rows = await source.get<EndpointRowView[]>('/v1/endpoints')
  const found = rows.find((r) => [`${r.id}`, r.name, r.name.replace('default/', '')].includes(name))
  if (found !== undefined) return found
  const known = rows.map((row) => row.name).join(', ')
  throw new CommandError(`endpoint: '${name}', expected one of ${known || 'none: there are none'}`)
}

interface PolicyOptions extends PagedOptions {
  readonly endpoint?: string
}

function addPolicy(program: Command): void {
  noun(program, 'policy', 'policy as the datapath has it, entry by entry', (list) => {
    list.argument(...TEXT).option('--endpoint <name>', 'of this endpoint alone, by name or id')
    withLimit(list, 'rows').action(showPolicy)
  })
}

async function showPolicy(text: string | undefined, options: PolicyOptions): Promise<void> {
  const source = await openSource(options)
  const { endpoint } = options
  const query =
    endpoint === undefined ? {} : { endpoint: `${(await endpointRow(options, endpoint)).id}` }
  const endpoints = await source.get<EndpointRowView[]>('/v1/endpoints')
  const entries = await allRows<PolicyEntryView>(source, '/v1/policies', query)
  const rows = entries.map((entry): PolicyRow => {
    const users = endpoints.filter(({ policy }) => (policy & POLICY_NUMBER_MASK) === entry.policy)
    return { ...entry, endpoints: users.map(({ name }) => name) }
  })
  const order = ({ endpoints: names, direction }: PolicyRow): string =>
    `${names.join(' ')} ${direction === 'ingress' ? 0 : 1}`
  rows.sort((a, b) => order(a).localeCompare(order(b)))
  printLimited(having(rows, text), POLICIES, options)
}

function addMap(program: Command): void {
  const what = 'maps with their size and use; `map dump` has their entries'
  const map = addList<MapRowView>(program, 'map', what, '/v1/maps', MAPS)
  const dump = map
    .command('dump')
    .description('entries of a map, word by word')
    .argument('<name>', 'the map, as `ringpath map` lists it')
  withLimit(dump, 'entries').action(async (name: string, options: PagedOptions) => {
    const source = await openSource(options)
    const path = `/v1/maps/${encodeURIComponent(name)}`
    const rows = await allRows<MapEntryView>(source, path, {}, options.limit + 1)
    printLimited(rows, ENTRIES, options)
  })
}
