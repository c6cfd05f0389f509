/**
 * The wire benchmarks' topology: a node with two pods, a generator in the first (core 0), a counter
 * in the second, and one forwarder at a time on the node's ends of their veth pairs (core 1).
 *
 * A veth hands frames over on the sender's core, so the kernel's receive work is core 0's and the
 * transmit work the worker's.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Lab, type Namespace, type Pod } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'

const GENERATOR_CORE = '0'
const WORKER_CORE = '1'
const HIGHEST_PRIORITY = -20

const PROGRAMS = fileURLToPath(new URL('../../../build/bench/', import.meta.url))
export const programPath = (name: string): string => `${PROGRAMS}${name}`

/**
 * A pod's frames that reach nobody are counted at this hook: `tc` is what a stack's receive costs
 * at least.
 */
export type SinkHook = 'tc' | 'xdp'

export interface Traffic {
  readonly frameBytes: number
  readonly flows: number
  /** Frames per second; 0 as fast as the generator can. */
  readonly rate: number
  readonly seconds: number
}

/**
 * On a shared machine the others wait for the seconds that a run takes. A lab's process is a
 * session of its own, and the scheduler weighs sessions (sched(7), autogroup), not processes;
 * without autogroups nothing changes.
 */
function preferOnItsCore(child: LabProcess): void {
  try {
    writeFileSync(`/proc/${child.pid}/autogroup`, String(HIGHEST_PRIORITY))
  } catch {
    // The share of the core that it had is part of the result.
  }
}

export interface CounterReading {
  readonly nanoseconds: number
  readonly frames: number
  readonly bytes: number
}

export class Topology {
  readonly lab: Lab
  readonly node: Namespace
  readonly sender: Pod
  readonly receiver: Pod
  readonly #counter: LabProcess
  #readings = 0

  private constructor(lab: Lab, node: Namespace, sender: Pod, receiver: Pod, counter: LabProcess) {
    this.lab = lab
    this.node = node
    this.sender = sender
    this.receiver = receiver
    this.#counter = counter
  }

  static async create(hook: SinkHook): Promise<Topology> {
    const lab = await Lab.create({ name: 'bench' })
    try {
      const node = await lab.namespace('node')
      const sender = await lab.pod(node, 'sender', { address: '10.0.0.1' })
      const receiver = await lab.pod(node, 'receiver', { address: '10.0.0.2' })
      const counter = lab.spawn(receiver, programPath('count'), ['eth0', hook])
      await counter.waitForOutput(/ready/)
      return new Topology(lab, node, sender, receiver, counter)
    } catch (error) {
      await lab.close()
      throw error
    }
  }

  /**
   * Starts a forwarder in the node's namespace, on the worker's core; resolves when it says
   * "ready".
   */
  async startForwarder(command: string, args: readonly string[]): Promise<LabProcess> {
    const line = ['-c', WORKER_CORE, command, ...args]
    const forwarder = this.lab.spawn(this.node, 'taskset', line)
    preferOnItsCore(forwarder)
    await forwarder.waitForOutput(/ready/)
    return forwarder
  }

  /** Starts to send from the first pod to the second. */
  startTraffic(traffic: Traffic): LabProcess {
    const { sender, receiver } = this
    const frame = [sender.podMac, sender.hostMac, sender.address, receiver.address]
    const { frameBytes, flows, rate, seconds } = traffic
    const amount = [frameBytes, flows, rate, seconds].map(String)
    const program = [programPath('generate'), 'eth0', ...frame, ...amount]
    const generator = this.lab.spawn(sender, 'taskset', ['-c', GENERATOR_CORE, ...program])
    preferOnItsCore(generator)
    return generator
  }

  /** What has reached the second pod so far, with the time of the reading. */
  async readCounter(): Promise<CounterReading> {
    this.#readings++
    this.#counter.write('\n')
    const pattern = new RegExp(`(?:\\{[^}]*\\}\\s*){${this.#readings}}`)
    const match = await this.#counter.waitForOutput(pattern)
    const last = match[0].trim().split('\n').at(-1) ?? ''
    return JSON.parse(last) as CounterReading
  }

  close(): Promise<void> {
    return this.lab.close()
  }
}
