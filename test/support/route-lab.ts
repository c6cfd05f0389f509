/**
 * A mirror of the routing tables of this process's network namespace, with two uplinks and one
 * device that is none; and what the kernel itself answers, for comparison. The test file imports
 * native-namespace.js first.
 */
import { spawnSync } from 'node:child_process'
import { NetlinkSocket } from 'xdp-socket-napi'
import { Fib, FibResult } from '../../src/routing/fib.js'
import { Group } from '../../src/routing/netlink/numbers.js'
import { RouteMirror } from '../../src/routing/route-mirror.js'
import { RoutingMaps } from '../../src/routing/routing-maps.js'
import { formatIpv4, parseIpv4 } from '../../src/wire/address.js'

/** Ports of the uplinks, by device; `rpx3` is a device that is no port. */
export const UPLINKS: ReadonlyMap<string, number> = new Map([
  ['rpx0', 3],
  ['rpx2', 4],
])

export interface RouteLabOptions {
  readonly routes?: number
  readonly newsBufferBytes?: number
}

export class RouteLab {
  readonly maps: RoutingMaps
  readonly mirror: RouteMirror
  readonly fib: Fib
  readonly log: string[] = []
  uplinks = UPLINKS
  #nowSeconds = 0
  #hasNewUplinks = false

  constructor(options: RouteLabOptions = {}) {
    const sizes = { routes: options.routes ?? 8192, neighbours: 1024 }
    this.maps = new RoutingMaps(
      (kind, spec) => kind.create(spec, new SharedArrayBuffer(kind.bytesFor(spec))),
      sizes,
    )
    this.fib = new Fib(this.maps)
    this.mirror = this.startMirror(options.newsBufferBytes)
  }

  /** Another one over the same maps, as after a restart. */
  startMirror(receiveBufferBytes = 1 << 20): RouteMirror {
    const mirror = new RouteMirror({
      maps: this.maps,
      uplinks: { refresh: () => this.#takeNewUplinks(), ports: () => this.uplinks },
      news: new NetlinkSocket({ groups: Object.values(Group), receiveBufferBytes }),
      queries: new NetlinkSocket(),
      log: (line) => this.log.push(line),
    })
    mirror.resynchronise()
    return mirror
  }

  setUplinks(uplinks: ReadonlyMap<string, number>): void {
    this.uplinks = uplinks
    this.#hasNewUplinks = true
  }

  /** A second passes in the mirror. */
  step(): void {
    this.mirror.step(++this.#nowSeconds)
  }

  /** What the datapath would do with a packet, in the words of `kernelAnswer`. */
  answer(address: string, hash = 0): string {
    const { fib } = this
    const destination = parseIpv4(address)
    const result = fib.lookup(destination, hash)
    if (result === FibResult.UNREACHABLE) return 'unreachable'
    if (result === FibResult.NOT_OURS) return 'stack'
    const device = [...this.uplinks].find(([, port]) => port === fib.port)?.[0]
    const via = fib.nextHop4 === destination ? '' : ` via ${formatIpv4(fib.nextHop4)}`
    return `dev ${device}${via} src ${formatIpv4(fib.sourceAddress4)} mtu ${fib.mtuBytes}`
  }

  close(): void {
    this.mirror.close()
  }

  #takeNewUplinks(): boolean {
    const isNew = this.#hasNewUplinks
    this.#hasNewUplinks = false
    return isNew
  }
}

/** What `ip route get` says, in the same words; `mtus` of the devices. */
export function kernelAnswer(address: string, mtus: ReadonlyMap<string, number>): string {
  const got = spawnSync('ip', ['-o', 'route', 'get', address], { encoding: 'utf8' })
  const text = got.stdout
  const field = (name: string) => new RegExp(`\\b${name} (\\S+)`).exec(text)?.[1]
  // No route at all is the stack's matter; it will say so itself.
  if (/^RTNETLINK answers: Network is unreachable/.test(got.stderr)) return 'stack'
  if (got.status !== 0) return 'unreachable'
  const device = field('dev') ?? ''
  if (/^(local|broadcast|multicast)/.test(text) || !UPLINKS.has(device)) return 'stack'
  const gateway = field('via')
  const via = gateway === undefined ? '' : ` via ${gateway}`
  const mtu = field('mtu') ?? mtus.get(device)
  return `dev ${device}${via} src ${field('src')} mtu ${mtu}`
}
