/** `ringpath top`: who sends the most, and who fills the connection table and the NAT. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { EndpointRowView } from '../observe/endpoint-view.js'
import type { MapRowView } from '../observe/map-view.js'
import type { ConnectionView } from '../observe/table-view.js'
import type { SourceUse, TableUse, TopView } from '../observe/top-view.js'
import { type ShowOptions, wholeNumber, withOutput } from './options.js'
import { byteText, type Column, paint, printValue, tableText } from './output.js'
import { allRows, openSource, type Source } from './source.js'

/** Maps below this use are no matter. */
const PRESSURE_MIN = 0.01

interface TopOptions extends ShowOptions {
  readonly count: number
  readonly seconds: number
}

interface FlowRate {
  readonly protocol: string
  readonly source: string
  readonly sourceName: string
  readonly destination: string
  readonly destinationName: string
  readonly packetsPerSecond: number
  readonly bytesPerSecond: number
}

interface Top extends TopView {
  readonly seconds: number
  readonly endpoints: ReturnType<typeof portRates>
  readonly flows: readonly FlowRate[]
  readonly maps: readonly MapRowView[]
}

export function addTopCommand(program: Command): void {
  const top = program
    .command('top')
    .description('who sends the most, and who fills the connection table and the NAT')
    .option('-n, --count <rows>', 'rows of each list', wholeNumber(1, 1_000), 10)
    .option('--seconds <seconds>', 'how long to look', wholeNumber(1, 60), 1)
  withOutput(top).action(async (options: TopOptions) => {
    const answer = await topOf(await openSource(options), options)
    printValue(answer, options.output, () => topText(answer))
  })
}

async function topOf(source: Source, options: TopOptions): Promise<Top> {
  const { seconds, count } = options
  const before = await looked(source)
  await sleep(seconds * 1_000)
  const after = await looked(source)
  const elapsed = (after.at - before.at) / 1_000
  const pressed = after.maps.filter(({ pressure }) => pressure >= PRESSURE_MIN)
  return {
    seconds,
    endpoints: portRates(before.endpoints, after.endpoints, elapsed),
    flows: busiestFlows(before.flows, after.flows, after.endpoints, elapsed).slice(0, count),
    ...(await source.get<TopView>('/v1/top', { limit: `${count}` })),
    maps: pressed.sort((a, b) => b.pressure - a.pressure),
  }
}

async function looked(source: Source) {
  const at = performance.now()
  const [endpoints, flows, maps] = await Promise.all([
    source.get<EndpointRowView[]>('/v1/endpoints'),
    allRows<ConnectionView>(source, '/v1/conntrack'),
    source.get<MapRowView[]>('/v1/maps'),
  ])
  return { at, endpoints, flows, maps }
}

const keyOf = (c: ConnectionView): string => `${c.side} ${c.protocol} ${c.source} ${c.destination}`
const addressOf = (place: string): string => place.slice(0, place.lastIndexOf(':'))

/** A connection has an entry for each side that it is seen from: the busier one tells its rate. */
function busiestFlows(
  before: readonly ConnectionView[],
  after: readonly ConnectionView[],
  endpoints: readonly EndpointRowView[],
  seconds: number,
): FlowRate[] {
  const names = new Map(endpoints.map(({ address, name }) => [address, name]))
  const old = new Map(before.map((c) => [keyOf(c), c]))
  const rates = new Map<string, FlowRate>()
  for (const c of after) {
    const then = old.get(keyOf(c))
    const rate = (now: number, was = 0): number => Math.round(Math.max(0, now - was) / seconds)
    const bytesPerSecond = rate(c.bytes, then?.bytes)
    const key = `${c.protocol} ${c.source} ${c.destination}`
    if (bytesPerSecond <= (rates.get(key)?.bytesPerSecond ?? 0)) continue
    rates.set(key, {
      protocol: c.protocol,
      source: c.source,
      sourceName: names.get(addressOf(c.source)) ?? '',
      destination: c.destination,
      destinationName: names.get(addressOf(c.destination)) ?? '',
      packetsPerSecond: rate(c.packets, then?.packets),
      bytesPerSecond,
    })
  }
  return [...rates.values()].sort((a, b) => b.bytesPerSecond - a.bytesPerSecond)
}

function portRates(
  before: readonly EndpointRowView[],
  after: readonly EndpointRowView[],
  seconds: number,
) {
  const old = new Map(before.map((row) => [row.port, row]))
  const rate = (now: number, then: number | undefined): number =>
    Math.max(0, Math.round((now - (then ?? now)) / seconds))
  return after
    .map((row) => ({
      endpoint: row.name,
      device: row.device,
      receivedPerSecond: rate(row.receivedFrames, old.get(row.port)?.receivedFrames),
      sentPerSecond: rate(row.sentFrames, old.get(row.port)?.sentFrames),
      lostPerSecond: rate(row.dropped, old.get(row.port)?.dropped),
    }))
    .sort((a, b) => b.receivedPerSecond - a.receivedPerSecond)
}

const named = (place: string, name: string): string => (name === '' ? place : `${place} (${name})`)

function topText({ seconds, endpoints, flows, connections, nat, maps }: Top): string {
  return [
    section(`Ports, packets a second over ${seconds} s`, endpoints, [
      { title: 'ENDPOINT', value: (r) => r.endpoint },
      { title: 'DEVICE', value: (r) => r.device },
      { title: 'RX/S', value: (r) => r.receivedPerSecond, isNumber: true },
      { title: 'TX/S', value: (r) => r.sentPerSecond, isNumber: true },
      { title: 'LOST/S', value: (r) => r.lostPerSecond, isNumber: true },
    ]),
    section('Heaviest connections', flows, [
      { title: 'PROTOCOL', value: (r) => r.protocol },
      { title: 'FROM', value: (r) => named(r.source, r.sourceName) },
      { title: 'TO', value: (r) => named(r.destination, r.destinationName) },
      { title: 'PACKETS/S', value: (r) => r.packetsPerSecond, isNumber: true },
      { title: 'BYTES/S', value: (r) => byteText(r.bytesPerSecond), isNumber: true },
    ]),
    useText('Connection table', connections),
    useText('NAT table', nat),
    ...(nat.exhausted > 0 ? [paint.red(`${nat.exhausted} flows found no free NAT port`)] : []),
    ...(nat.destinations.length > 0
      ? [
          section('NAT ports in use by destination', nat.destinations, [
            { title: 'DESTINATION', value: (r) => `${r.destination}/${r.protocol}` },
            { title: 'PORTS', value: (r) => r.ports, isNumber: true },
          ]),
        ]
      : []),
    section('Maps in use by 1 % or more', maps, [
      { title: 'MAP', value: (r) => r.name },
      { title: 'USED', value: (r) => `${(r.pressure * 100).toFixed(1)} %`, isNumber: true },
      { title: 'EVICTED', value: (r) => r.evictions, isNumber: true },
    ]),
  ].join('\n\n')
}

function useText(title: string, { entries, capacity, evictions, sources }: TableUse): string {
  const share = ((entries / capacity) * 100).toFixed(1)
  const evicted = evictions === 0 ? '' : `, ${evictions} evicted`
  return section(`${title}: ${entries} of ${capacity} entries (${share} %)${evicted}`, sources, [
    { title: 'OPENED BY', value: (r: SourceUse) => named(r.address, r.name) },
    { title: 'ENTRIES', value: (r) => r.entries, isNumber: true },
  ])
}

function section<T>(title: string, rows: readonly T[], columns: readonly Column<T>[]): string {
  const head = paint.bold(title)
  return rows.length === 0 ? `${head}: none` : `${head}\n${tableText(rows, columns, false)}`
}
