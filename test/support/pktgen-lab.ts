/** A sender, a machine in the middle that bridges, and a receiver; and `ringpath pktgen` run there. */
import { fileURLToPath } from 'node:url'
import { Lab, type Link, type Namespace } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import type { RunResult } from '../../src/pktgen/run.js'

const RINGPATH = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))

export const SENDER = '10.9.0.1'
export const RECEIVER = '10.9.0.2'

export interface CommandOutput {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export class PktgenLab {
  readonly lab: Lab
  readonly sender: Namespace
  readonly receiver: Namespace
  readonly link: Link

  private constructor(lab: Lab, sender: Namespace, receiver: Namespace, link: Link) {
    this.lab = lab
    this.sender = sender
    this.receiver = receiver
    this.link = link
  }

  /** `out0` in the sender's namespace and `in0` in the receiver's, the two ends of one veth. */
  static async direct(): Promise<PktgenLab> {
    const lab = await Lab.create({ name: 'pktgen' })
    const sender = await lab.namespace('sender')
    const receiver = await lab.namespace('receiver')
    const link = await lab.link({
      a: { ns: sender, device: 'out0', address: `${SENDER}/24` },
      b: { ns: receiver, device: 'in0', address: `${RECEIVER}/24` },
    })
    return new PktgenLab(lab, sender, receiver, link)
  }

  /** With a bridge between; `queue` is the qdisc (tc's words) on its way to the receiver. */
  static async bridged(queue: string): Promise<PktgenLab> {
    const lab = await Lab.create({ name: 'pktgen' })
    const [sender, middle, receiver] = [
      await lab.namespace('sender'),
      await lab.namespace('middle'),
      await lab.namespace('receiver'),
    ]
    const a = await lab.link({
      a: { ns: sender, device: 'out0', address: `${SENDER}/24` },
      b: { ns: middle, device: 'left0' },
    })
    const b = await lab.link({
      a: { ns: middle, device: 'right0' },
      b: { ns: receiver, device: 'in0', address: `${RECEIVER}/24` },
    })
    await lab.ip(middle, [
      'link add br0 type bridge',
      'link set left0 master br0',
      'link set right0 master br0',
      'link set br0 up',
    ])
    await run(lab, middle, 'tc', `qdisc add dev right0 root ${queue}`)
    // A veth takes frames of XDP only where its end has NAPI: with GRO, or an XDP program.
    await run(lab, middle, 'ethtool', '-K left0 gro on')
    return new PktgenLab(lab, sender, receiver, { a: a.a, b: b.b })
  }

  /** So that the receiver's stack gets frames of XDP. */
  async receiveByStack(): Promise<void> {
    await run(this.lab, this.receiver, 'ethtool', '-K in0 gro on')
  }

  /** With the receiver's `in0` for `SINK`. */
  #arguments(words: string): string[] {
    const text = words.replace('SINK', `--sink in0 --sink-namespace ${this.receiver.netns}`)
    const ends = ['--device', 'out0', '--to-mac', this.link.b.mac]
    return [RINGPATH, 'pktgen', ...ends, ...text.split(' ').filter(Boolean)]
  }

  /** `ringpath pktgen` in the sender's namespace. */
  pktgen(words: string): Promise<CommandOutput> {
    const args = this.#arguments(words)
    return this.lab.exec(this.sender, process.execPath, args, { timeoutMs: 60_000 })
  }

  start(words: string): LabProcess {
    return this.lab.spawn(this.sender, process.execPath, this.#arguments(words))
  }

  /** The result of a run that went well. */
  async result(words: string): Promise<RunResult> {
    const { code, stdout, stderr } = await this.pktgen(`${words} -o json`)
    if (code !== 0) throw new Error(`pktgen ${words} ended with ${code}: ${stderr}`)
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as RunResult
  }

  close(): Promise<void> {
    return this.lab.close()
  }
}

async function run(lab: Lab, ns: Namespace, command: string, words: string): Promise<void> {
  const { code, stderr } = await lab.exec(ns, command, words.split(' '))
  if (code !== 0) throw new Error(`${command} ${words}: ${stderr}`)
}
