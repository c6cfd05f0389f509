/** The frames of all scenarios, with worlds to send them into. */

import { eth } from '../packet-builder.js'
import { type LoadedScenario, mergeNodes } from '../scenario/load.js'
import { MemoryWorld } from '../scenario/memory-world.js'
import { runScenario, type Sent } from '../scenario/run.js'
import type { Watch } from './watch.js'

export interface Situation {
  readonly world: MemoryWorld
  /** All that the scenario sent. */
  readonly frames: readonly Sent[]
}

/** Pods that no policy restricts, behind those of the scenario. */
export const CANARIES = ['canary1', 'canary2'] as const

/** The node as the scenario leaves it, with its connections, mappings and services. */
export async function situationAfter(loaded: LoadedScenario): Promise<Situation> {
  // A table that is full on purpose forgets what the watch would miss.
  const settings = { ...loaded.node.settings, connections: 1024 }
  const node = mergeNodes({ ...loaded.node, settings }, { pods: [...CANARIES] })
  const world = await MemoryWorld.create(node)
  const frames: Sent[] = []
  await runScenario(loaded, world, (_, sent) => frames.push(sent) > 0)
  return { world, frames }
}

/** A datagram from one canary to the other, as their ports send it. */
export function canaryFrame(world: MemoryWorld, port: number): Uint8Array {
  const [from, to] = CANARIES.map((name) => world.names.port(name))
  if (from === undefined || to === undefined) throw new Error('a world without canaries')
  return eth({ from: from.mac, to: from.nodeMac })
    .ipv4({ from: from.address, to: to.address })
    .udp({ from: port, to: 7 })
    .payload('alive?')
    .bytes()
}

export function canaryViolations(watch: Watch, world: MemoryWorld, port: number): string[] {
  return watch.violationsOfCanary(CANARIES[0], CANARIES[1], canaryFrame(world, port))
}
