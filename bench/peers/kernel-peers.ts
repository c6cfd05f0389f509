/**
 * The Linux kernel's own ways between two veths. They run wholly on the sender's core: nothing
 * belongs to the worker's.
 *
 * Frames from BPF_PROG_RUN enter a veth only if its other end has NAPI; switching GRO on there gives
 * it that without an XDP program (drivers/net/veth.c), which would cost more.
 */
import { runOrFail } from '../../src/lab/command.js'
import type { Lab } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import { programPath } from '../lib/native-programs.js'
import { DESTINATION } from '../lib/node-scenario.js'
import type { Contender, Running } from '../wire/contender.js'
import type { Track, TrackOptions } from '../wire/track.js'

const WARM_UP_MILLISECONDS = 200
const BACKEND_PORT = 8080

/** A tool is there when it prints its version. */
async function toolProblem(tool: string, args: readonly string[]): Promise<string | undefined> {
  try {
    await runOrFail(tool, args)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

async function enableGro(lab: Lab, track: Track, device: string): Promise<void> {
  const { code, stderr } = await lab.exec(track.node, 'ethtool', ['-K', device, 'gro', 'on'])
  if (code !== 0) throw new Error(`ethtool: ${stderr.trim()}`)
}

abstract class KernelPeer implements Contender {
  readonly warmUpMilliseconds = WARM_UP_MILLISECONDS
  abstract readonly name: string
  abstract readonly description: string

  problem(): Promise<string | undefined> {
    return Promise.resolve(undefined)
  }

  async start(track: Track): Promise<Running> {
    await enableGro(track.lab, track, track.sender.device)
    return this.connect(track)
  }

  protected abstract connect(track: Track): Promise<Running>
}

/** Nothing of it is a process. */
const inKernel = (address: string, mac: string): Running => ({
  target: { address, mac },
  sink: 'receiver',
  stop: () => Promise.resolve(),
})

async function addRoute({ lab, node, receiver }: Track): Promise<void> {
  const { address, device, podMac } = receiver
  await lab.ip(node, [
    `route add ${address}/32 dev ${device}`,
    `neigh replace ${address} lladdr ${podMac} dev ${device} nud permanent`,
  ])
}

export class Routing extends KernelPeer {
  readonly name = 'routing'
  readonly description = 'Linux routing, without netfilter; one core'
  readonly track: TrackOptions

  /** @param track as the contender has it that it is compared with */
  constructor(track: TrackOptions = {}) {
    super()
    this.track = track
  }

  protected async connect(track: Track): Promise<Running> {
    await addRoute(track)
    return inKernel(track.receiver.address, track.sender.hostMac)
  }
}

/** What a service is without Cilium: kube-proxy's nftables mode does the same at its heart. */
export class NftDnat extends KernelPeer {
  readonly name = 'nft-dnat'
  readonly description = 'Linux routing with nftables DNAT and conntrack; one core'

  override problem(): Promise<string | undefined> {
    return toolProblem('nft', ['--version'])
  }

  protected async connect(track: Track): Promise<Running> {
    await addRoute(track)
    const { sender, receiver } = track
    const target = `${receiver.address}:${BACKEND_PORT}`
    const rules = `table ip bench {
      chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr ${DESTINATION.service} meta l4proto udp dnat to ${target}
      }
      chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ip saddr ${sender.address} udp dport ${BACKEND_PORT} accept
      }
    }
    `
    const { code, stderr } = await track.lab.exec(track.node, 'nft', ['-f', '-'], { input: rules })
    if (code !== 0) throw new Error(`nft: ${stderr.trim()}`)
    return inKernel(DESTINATION.service, track.sender.hostMac)
  }
}

export class Bridge extends KernelPeer {
  readonly name = 'bridge'
  readonly description = 'Linux bridge; one core'

  protected async connect(track: Track): Promise<Running> {
    const { lab, node, sender, receiver } = track
    await lab.ip(node, [
      'link add br0 type bridge',
      `link set ${sender.device} master br0`,
      `link set ${receiver.device} master br0`,
      'link set br0 up',
    ])
    await lab.exec(node, 'bridge', [
      ...['fdb', 'replace', receiver.podMac, 'dev', receiver.device, 'master', 'static'],
    ])
    return inKernel(receiver.address, receiver.podMac)
  }
}

const REDIRECTS = {
  redirect: "tc's bpf_redirect; one core",
  redirect_peer: "tc's bpf_redirect_peer; one core",
  devmap: 'XDP_REDIRECT through a devmap, received by GRO; one core',
} as const
export type RedirectMode = keyof typeof REDIRECTS

/** Frames moved by a BPF program that looks at nothing (redirect.bpf.c). */
export class Redirect extends KernelPeer {
  readonly name: string
  readonly description: string
  readonly #mode: RedirectMode

  constructor(mode: RedirectMode) {
    super()
    this.#mode = mode
    this.name = mode.replace('_', '-')
    this.description = REDIRECTS[mode]
  }

  protected async connect(track: Track): Promise<Running> {
    const { lab, node, sender, receiver } = track
    const settings = ['-K', 'eth0', 'gro', 'on']
    if (this.#mode === 'devmap') await lab.exec(receiver, 'ethtool', settings)
    const devices = [sender.device, receiver.device]
    const loader = lab.spawn(node, programPath('redirect'), [this.#mode, ...devices])
    await loader.waitForOutput(/ready/)
    return { ...inKernel(receiver.address, sender.hostMac), stop: () => ended(loader) }
  }
}

async function ended(process: LabProcess): Promise<void> {
  process.closeInput()
  await process.ended
}
