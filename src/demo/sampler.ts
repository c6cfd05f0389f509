/**
 * Looks at a running datapath from outside, through its shared maps only: rates per port, the
 * connection table, drops by reason, and the drops themselves from the event ring, whose one
 * consumer this is.
 */
import { isDropReason, REASON_FORWARDED, readMetrics } from '../monitor/metrics.js'
import type { PortStatistics } from '../port/port.js'
import { readPortStatistics } from '../port/port-statistics.js'
import { type ConnectionList, readConnections } from './connections.js'
import { DropLog, type DropRecord } from './drop-log.js'
import type { World } from './world.js'

export interface PortRate {
  readonly name: string
  /** From the pod into the datapath, and from the datapath to the pod; per second. */
  readonly receivedFrames: number
  readonly receivedBits: number
  readonly sentFrames: number
  readonly sentBits: number
  /** Frames since the start that found no room in a ring, either way. */
  readonly lostOnRings: number
}

export interface DropCount {
  readonly code: number
  /** 1 ingress, 2 egress, 0 neither. */
  readonly direction: number
  readonly frames: number
}

export interface Snapshot {
  readonly seconds: number
  readonly ports: readonly PortRate[]
  readonly receivedFrames: number
  readonly forwardedFrames: number
  readonly droppedFrames: number
  /** Frames that found no room in a ring: never seen by the pipeline, or never sent. */
  readonly lostOnRings: number
  readonly drops: readonly DropCount[]
  readonly lastDrops: readonly DropRecord[]
  readonly connections: ConnectionList
}

export class Sampler {
  readonly #world: World
  readonly #drops: DropLog
  readonly #before = new Map<number, PortStatistics>()
  readonly #now: () => number
  readonly #start: number
  #beforeAt: number

  /** @param now seconds, of any origin */
  constructor(world: World, now: () => number) {
    this.#world = world
    this.#drops = new DropLog(world.maps.events, world.portNames)
    this.#now = now
    this.#start = now()
    this.#beforeAt = this.#start
  }

  /** Since the start. */
  get seconds(): number {
    return this.#now() - this.#start
  }

  /** Rates are those since the last sample. */
  sample(): Snapshot {
    const { maps, clock } = this.#world
    const now = this.#now()
    const elapsed = Math.max(now - this.#beforeAt, 1e-3)
    this.#beforeAt = now
    this.#drops.drain()
    const metrics = readMetrics(maps.metrics)
    const drops = metrics
      .filter((line) => isDropReason(line.reason))
      .map(({ reason, direction, frames }) => ({ code: reason, direction, frames }))
    const forwarded = metrics.filter((line) => line.reason === REASON_FORWARDED)
    const ports = [...this.#world.portNames].map(([port, name]) => this.#rate(port, name, elapsed))
    let receivedFrames = 0
    for (const statistics of this.#before.values()) receivedFrames += statistics.receivedFrames
    return {
      seconds: now - this.#start,
      ports,
      receivedFrames,
      forwardedFrames: forwarded.reduce((sum, line) => sum + line.frames, 0),
      droppedFrames: drops.reduce((sum, line) => sum + line.frames, 0),
      lostOnRings: ports.reduce((sum, port) => sum + port.lostOnRings, 0),
      drops: drops.sort((a, b) => b.frames - a.frames),
      lastDrops: this.#drops.latest,
      connections: readConnections(maps.conntrackTable, clock.seconds()),
    }
  }

  #rate(port: number, name: string, elapsed: number): PortRate {
    const map = this.#world.maps.portStatistics
    const now = readPortStatistics((cell) => map.sum(cell), port)
    const before = this.#before.get(port)
    this.#before.set(port, now)
    const rate = (counter: keyof PortStatistics) =>
      Math.max(0, now[counter] - (before?.[counter] ?? 0)) / elapsed
    return {
      name,
      receivedFrames: rate('receivedFrames'),
      receivedBits: rate('receivedBytes') * 8,
      sentFrames: rate('sentFrames'),
      sentBits: rate('sentBytes') * 8,
      lostOnRings: now.sendDropped + now.receiveDropped,
    }
  }
}
