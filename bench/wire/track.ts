/**
 * The wire benchmarks' topology, one copy for each that takes part, so that all of them can be ready
 * at the same time: a node with two pods and an uplink to a peer, in namespaces of one lab.
 *
 *     pod "sender" (core 0)        node (core 1)            pod "receiver", or the peer
 *     BPF_PROG_RUN ──► lxc-sender ─ what is measured ─ lxc-receiver or uplink ──► tc: count, drop
 *
 * A veth hands frames over on the sender's core, so the kernel's receive work is core 0's and the
 * transmit work the forwarder's.
 */
import { writeFileSync } from 'node:fs'
import type { Lab, Namespace, Pod } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import type { ScenarioDevices } from '../lib/node-scenario.js'

export const GENERATOR_CORE = 0
export const WORKER_CORE = 1
const HIGHEST_PRIORITY = -20
const SENDER_ADDRESS = '10.0.0.1'
const RECEIVER_ADDRESS = '10.0.0.2'
const UPLINK_ADDRESS = '192.0.2.2'
const PEER_ADDRESS = '192.0.2.3'

/** A device that frames arrive at, in its namespace. */
export interface End {
  readonly ns: Namespace
  readonly device: string
}

export interface TrackOptions {
  /** RX and TX queues of every device; 1 unless given. */
  readonly queues?: number
  /** Of every device, in bytes; 1500 unless given. */
  readonly mtu?: number
}

export class Track {
  readonly lab: Lab
  readonly name: string
  readonly node: Namespace
  readonly sender: Pod
  readonly receiver: Pod
  readonly peer: End
  readonly devices: ScenarioDevices

  private constructor(
    lab: Lab,
    name: string,
    ends: { readonly sender: Pod; readonly receiver: Pod; readonly peer: End },
    uplink: { readonly device: string; readonly mac: string; readonly peerMac: string },
  ) {
    const { sender, receiver } = ends
    this.lab = lab
    this.name = name
    this.node = sender.node
    this.sender = sender
    this.receiver = receiver
    this.peer = ends.peer
    const pod = ({ device, address, podMac, hostMac }: Pod) => {
      return { device, address, mac: podMac, nodeMac: hostMac }
    }
    this.devices = {
      sender: pod(sender),
      receiver: pod(receiver),
      uplink: { device: uplink.device, address: UPLINK_ADDRESS, mac: uplink.mac },
      peer: { address: PEER_ADDRESS, mac: uplink.peerMac },
    }
  }

  /** @param name part of its namespaces' names; once in a lab */
  static async create(lab: Lab, name: string, options: TrackOptions = {}): Promise<Track> {
    const node = await lab.namespace(`${name}-n`)
    const device = { queues: options.queues ?? 1, mtu: options.mtu ?? 1500 }
    const pod = async (title: string, address: string): Promise<Pod> => {
      const made = await lab.pod(node, `${name}-${title}`, { address, ...device })
      return made
    }
    const sender = await pod('s', SENDER_ADDRESS)
    const receiver = await pod('r', RECEIVER_ADDRESS)
    const peer = { ns: await lab.namespace(`${name}-p`), device: 'eth0' }
    const link = await lab.link({
      a: { ns: node, device: 'uplink0', address: `${UPLINK_ADDRESS}/24` },
      b: { ...peer, address: `${PEER_ADDRESS}/24` },
      ...device,
    })
    const uplink = { device: 'uplink0', mac: link.a.mac, peerMac: link.b.mac }
    return new Track(lab, name, { sender, receiver, peer }, uplink)
  }

  /**
   * The same of one whose threads choose their cores themselves: a worker's own, and the others the
   * generator's, as with testpmd and Open vSwitch.
   */
  spawnWithWorker(command: string, args: readonly string[]): LabProcess {
    const child = this.lab.spawn(this.node, command, args)
    preferOnItsCore(child)
    return child
  }

  /** Starts a program in the node's namespace, on the worker's core. */
  spawn(command: string, args: readonly string[]): LabProcess {
    return spawnOnCore(this.lab, this.node, WORKER_CORE, command, args)
  }
}

/** Starts a program that the scheduler prefers on its core. */
export function spawnOnCore(
  lab: Lab,
  ns: Namespace,
  core: number,
  command: string,
  args: readonly string[],
): LabProcess {
  const child = lab.spawn(ns, 'taskset', ['-c', `${core}`, command, ...args])
  preferOnItsCore(child)
  return child
}

/**
 * On a shared machine the others wait for the seconds that a run takes. A lab's process is a
 * session of its own, and the scheduler weighs sessions (sched(7), autogroup), not processes;
 * without autogroups nothing changes.
 */
export function preferOnItsCore(child: LabProcess): void {
  try {
    writeFileSync(`/proc/${child.pid}/autogroup`, String(HIGHEST_PRIORITY))
  } catch {
    // The share of the core that it had is part of the result.
  }
}
