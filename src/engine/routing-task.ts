/**
 * The mirror of the kernel's routes as a task of the datapath's main thread: it hears of changes
 * from the event loop, and has a step to do ten times a second. The worker thread is not bothered.
 */
import { NetlinkSocket } from 'xdp-socket-napi'
import type { PortTable } from '../port/port-table.js'
import { Group } from '../routing/netlink/numbers.js'
import { RouteMirror } from '../routing/route-mirror.js'
import type { RoutingMaps } from '../routing/routing-maps.js'
import { UplinkPorts } from './uplink-ports.js'

const STEP_MILLISECONDS = 100
/** Room for the news of about a thousand routes, while the main thread is busy. */
const NEWS_BUFFER_BYTES = 1 << 20

export class RoutingTask {
  readonly #news = new NetlinkSocket({
    groups: Object.values(Group),
    receiveBufferBytes: NEWS_BUFFER_BYTES,
  })
  readonly #mirror: RouteMirror
  readonly #uplinks: UplinkPorts
  readonly #log: (line: string) => void
  readonly #timer: NodeJS.Timeout
  #lastTrouble = ''

  /** The maps are equal to the kernel's tables when this returns. */
  constructor(maps: RoutingMaps, ports: PortTable, log: (line: string) => void) {
    this.#log = log
    const uplinks = new UplinkPorts(ports, process.pid)
    this.#uplinks = uplinks
    const queries = new NetlinkSocket()
    this.#mirror = new RouteMirror({ maps, uplinks, news: this.#news, queries, log })
    this.#guarded(() => this.#mirror.resynchronise())
    this.#news.onReadable(() => this.#guarded(() => this.#mirror.receive()))
    this.#timer = setInterval(() => this.#step(), STEP_MILLISECONDS)
  }

  /** Call it when the worker has attached what it could: until then routes lead to all uplinks. */
  started(): void {
    this.#uplinks.started()
    this.#step()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#mirror.close()
  }

  #step(): void {
    this.#guarded(() => this.#mirror.step(Math.floor(performance.now() / 1000)))
  }

  /** Packets go on by the routes that are there; the mirror begins anew with its next step. */
  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      // The same trouble ten times a second is told once.
      const trouble = error instanceof Error ? error.message : String(error)
      if (trouble !== this.#lastTrouble) this.#log(`routes: ${trouble}`)
      this.#lastTrouble = trouble
      this.#mirror.distrust()
    }
  }
}
