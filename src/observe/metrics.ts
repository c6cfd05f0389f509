/**
 * The node's Prometheus metrics, read from the maps at each scrape: nothing is counted twice and
 * the datapath does nothing for it. Names and help are a contract with dashboards
 * (docs/metrics.md).
 */
import { Counter, Gauge, Registry } from 'prom-client'
import type { NatReport } from '../nat/nat-report.js'
import { protocolName } from './flow.js'
import type { NodeView } from './node-view.js'
import { addWorkerMetrics } from './worker-metrics.js'

/** What the agent knows beyond the maps. */
export interface AgentGauges {
  readonly isDatapathUp: boolean
  readonly datapathDeaths: number
  readonly repairSeconds: number
  readonly eventsSeen: number
  readonly eventsLost: number
  readonly problems: number
  readonly failures: number
}

/** Destinations with a gauge of their own. */
const NAT_DESTINATIONS = 10

export class NodeMetrics {
  readonly #registry = new Registry()
  readonly #view: NodeView
  readonly #agent: () => AgentGauges

  constructor(view: NodeView, agent: () => AgentGauges) {
    this.#view = view
    this.#agent = agent
    this.#addTraffic()
    this.#addPorts()
    this.#addTables()
    this.#addNat()
    this.#addAgent()
    addWorkerMetrics(
      view,
      (...metric) => this.#counter(...metric),
      (...metric) => this.#gauge(...metric),
    )
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  #counter(
    name: string,
    help: string,
    labelNames: readonly string[],
    values: () => Iterable<readonly [Readonly<Record<string, string>>, number]>,
  ): void {
    new Counter({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const [labels, value] of values()) this.inc(labels, value)
      },
    })
  }

  #gauge(
    name: string,
    help: string,
    labelNames: readonly string[],
    values: () => Iterable<readonly [Readonly<Record<string, string>>, number]>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const [labels, value] of values()) this.set(labels, value)
      },
    })
  }

  #addTraffic(): void {
    const counters = (dropped: boolean) =>
      this.#view.counters().filter(({ code }) => code > 0 === dropped)
    const drops = ['reason', 'direction']
    this.#counter(
      'ringpath_drop_count_total',
      'Dropped packets by reason and direction',
      drops,
      () =>
        counters(true).map(
          (c) => [{ reason: c.reason, direction: c.direction }, c.packets] as const,
        ),
    )
    this.#counter('ringpath_drop_bytes_total', 'Dropped bytes by reason and direction', drops, () =>
      counters(true).map((c) => [{ reason: c.reason, direction: c.direction }, c.bytes] as const),
    )
    this.#counter(
      'ringpath_noted_count_total',
      'Packets of which something is counted beside their fate, such as fragments and answers',
      drops,
      () =>
        this.#view
          .noted()
          .map((c) => [{ reason: c.reason, direction: c.direction }, c.packets] as const),
    )
    const forwarded = ['direction']
    this.#counter('ringpath_forward_count_total', 'Forwarded packets', forwarded, () =>
      counters(false).map((c) => [{ direction: c.direction }, c.packets] as const),
    )
    this.#counter('ringpath_forward_bytes_total', 'Forwarded bytes', forwarded, () =>
      counters(false).map((c) => [{ direction: c.direction }, c.bytes] as const),
    )
  }

  #addPorts(): void {
    const labels = ['device', 'endpoint', 'kind']
    const ports = () => this.#view.endpoints()
    const of = (row: { device: string; name: string; kind: string }) => ({
      device: row.device,
      endpoint: row.name,
      kind: row.kind,
    })
    this.#counter('ringpath_port_receive_packets_total', 'Packets received by port', labels, () =>
      ports().map((row) => [of(row), row.receivedFrames] as const),
    )
    this.#counter('ringpath_port_transmit_packets_total', 'Packets sent by port', labels, () =>
      ports().map((row) => [of(row), row.sentFrames] as const),
    )
    this.#counter(
      'ringpath_port_dropped_packets_total',
      'Packets lost at a port: no room in a ring, before us or after us, or no device',
      labels,
      () => ports().map((row) => [of(row), row.dropped] as const),
    )
    this.#gauge('ringpath_port_attached', '1 while the datapath has the device', labels, () =>
      ports().map((row) => [of(row), row.status === 'attached' ? 1 : 0] as const),
    )
  }

  #addTables(): void {
    const maps = () => this.#view.mapList().filter(({ type }) => /hash|lpm/.test(type))
    this.#gauge('ringpath_map_entries', 'Entries of a map', ['map'], () =>
      maps().map((m) => [{ map: m.name }, m.entries] as const),
    )
    this.#gauge('ringpath_map_capacity', 'Entries that a map can have', ['map'], () =>
      maps().map((m) => [{ map: m.name }, m.capacity] as const),
    )
    this.#gauge('ringpath_map_pressure', 'Share of a map in use, 0 to 1', ['map'], () =>
      maps().map((m) => [{ map: m.name }, m.pressure] as const),
    )
    this.#counter('ringpath_map_evictions_total', 'Entries evicted to make room', ['map'], () =>
      maps().map((m) => [{ map: m.name }, m.evictions] as const),
    )
    this.#counter(
      'ringpath_map_refused_total',
      'Entries not written because the map was full',
      ['map'],
      () => maps().map((m) => [{ map: m.name }, m.refused] as const),
    )
    this.#counter(
      'ringpath_map_collected_total',
      'Expired entries that sweeps deleted',
      ['map'],
      () => maps().map((m) => [{ map: m.name }, m.collected] as const),
    )
    this.#counter(
      'ringpath_map_locks_stolen_total',
      'Locks of a map taken over from a writer that died or stood still',
      ['map'],
      () => maps().map((m) => [{ map: m.name }, m.locksStolen] as const),
    )
    this.#gauge('ringpath_services', 'Service frontends', [], () => [
      [{}, this.#view.services().length] as const,
    ])
    this.#gauge('ringpath_endpoints', 'Endpoints of this node', [], () => [
      [{}, this.#view.endpoints().filter(({ kind }) => kind === 'pod').length] as const,
    ])
  }

  #addNat(): void {
    const nat = (): NatReport => this.#view.natReport(NAT_DESTINATIONS)
    this.#counter(
      'ringpath_nat_mappings_total',
      'NAT mappings made, by ports tried in vain before',
      ['tries'],
      () =>
        nat()
          .tries.map((count, tries) => [{ tries: `${tries}` }, count] as const)
          .filter(([, count]) => count > 0),
    )
    this.#counter('ringpath_nat_exhausted_total', 'Flows for which no port was found', [], () => [
      [{}, nat().exhausted] as const,
    ])
    this.#gauge(
      'ringpath_nat_destination_ports',
      `Ports in use toward the ${NAT_DESTINATIONS} destinations with most`,
      ['address', 'destination', 'port', 'protocol'],
      () =>
        nat().destinations.map((d) => {
          const labels = { address: d.natAddress, destination: d.address, port: `${d.port}` }
          return [{ ...labels, protocol: protocolName(d.protocol) }, d.ports] as const
        }),
    )
  }

  #addAgent(): void {
    const one = (name: string, help: string, value: (agent: AgentGauges) => number): void =>
      this.#gauge(name, help, [], () => [[{}, value(this.#agent())] as const])
    one('ringpath_datapath_up', '1 while the datapath forwards', (a) => (a.isDatapathUp ? 1 : 0))
    one(
      'ringpath_datapath_repair_seconds',
      'From the last death of a datapath until the next was up',
      (a) => a.repairSeconds,
    )
    one('ringpath_document_problems', 'Problems of the manifests as they are', (a) => a.problems)
    one('ringpath_reconcile_failures', 'Changes that could not be applied yet', (a) => a.failures)
    this.#counter(
      'ringpath_datapath_deaths_total',
      'Datapaths that died under this agent',
      [],
      () => [[{}, this.#agent().datapathDeaths] as const],
    )
    this.#counter('ringpath_events_total', 'Events taken from the datapath', [], () => [
      [{}, this.#agent().eventsSeen] as const,
    ])
    this.#counter('ringpath_events_lost_total', 'Events lost for want of room', [], () => [
      [{}, this.#agent().eventsLost] as const,
    ])
  }
}
