/**
 * A laboratory of network namespaces for the demo and the tests: nodes, pods on veth pairs, the
 * node's own host pair and outside hosts, made with `ip` and removed without a trace. It sets up
 * what a CNI plugin would; it knows nothing of AF_XDP, and no traffic of pods flows before an
 * engine is attached.
 *
 * Removal: `close()`, else the exit hook (exceptions, signals), else the janitor (kill -9), else
 * the next run's sweep.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { type CommandOptions, type CommandResult, run, runOrFail } from './command.js'
import { onExit } from './exit-hook.js'
import { LabProcess } from './lab-process.js'
import { namespacePrefix, openRun, removeRun, runDirectory, sweepDeadRuns } from './run-record.js'
import * as wiring from './wiring.js'

/** Anything with a namespace of its own: a node, a pod, an outside host. */
export interface Namespace {
  /** The name within the lab. */
  readonly name: string
  /** The name that `ip netns` knows; the namespace is /run/netns/<netns>. */
  readonly netns: string
}

export interface Pod extends Namespace {
  readonly node: Namespace
  /** The veth device in the node's namespace, which the engine attaches to. */
  readonly device: string
  readonly address: string
  readonly gateway: string
  readonly mtuBytes: number
  readonly queues: number
  /** MAC of the pod's eth0. */
  readonly podMac: string
  /** MAC of `device`. */
  readonly hostMac: string
}

/** The node's own way to and from its pods, as cilium_host and cilium_net. */
export interface HostPair {
  readonly node: Namespace
  /** Has the address and the routes; the node's kernel uses it. */
  readonly hostDevice: string
  /** The engine attaches to this end. */
  readonly netDevice: string
  readonly address: string
  readonly podCidr: string
  readonly mtuBytes: number
  readonly queues: number
  readonly hostMac: string
  readonly netMac: string
}

export interface LabOptions {
  /** Told in the record of the run; lower-case letters, digits and hyphens. */
  readonly name: string
  /** False: the program has signal handlers of its own, and calls `close`. */
  readonly handleSignals?: boolean
}

export interface NamespaceOptions {
  /** True keeps IPv6, with its unasked-for router and neighbour solicitations. */
  readonly ipv6?: boolean
}

export interface DeviceOptions {
  /** 1500 when not given. */
  readonly mtu?: number
  /** RX and TX queues at both ends; 1 when not given. */
  readonly queues?: number
}

export interface PodOptions extends NamespaceOptions, DeviceOptions {
  readonly address: string
  readonly gateway?: string
}

export interface HostPairOptions extends DeviceOptions {
  readonly address: string
  readonly podCidr: string
}

export interface LinkEnd {
  readonly ns: Namespace
  readonly device: string
  /** With its prefix length; none when the engine owns the device. */
  readonly address?: string
  readonly mac?: string
}

export interface Link {
  readonly a: LinkEnd & { readonly mac: string }
  readonly b: LinkEnd & { readonly mac: string }
}

export class Lab {
  /** In the name of every namespace of this run: rp-<id>-<name>. */
  readonly id: string
  readonly #processes = new Set<LabProcess>()
  readonly #janitor: ChildProcess
  readonly #releaseExitHook: () => void
  #isOpen = true

  private constructor(options: LabOptions) {
    this.id = openRun(wiring.checkName(options.name))
    this.#janitor = startJanitor(this.id)
    this.#releaseExitHook = onExit(() => this.#remove(), options.handleSignals ?? true)
  }

  /** What keeps this machine from running a lab, in one sentence; undefined when nothing does. */
  static async problem(): Promise<string | undefined> {
    if (process.platform !== 'linux') return 'network namespaces need Linux'
    if (process.geteuid?.() !== 0) return 'network namespaces need root: run it with sudo'
    try {
      await runOrFail('unshare', ['--net', 'ip', 'link', 'show'])
      return undefined
    } catch (error) {
      return `network namespaces are not permitted here: ${(error as Error).message}`
    }
  }

  /** @throws RingpathError LAB_SETUP saying what to do when this machine cannot run a lab. */
  static async create(options: LabOptions): Promise<Lab> {
    const problem = await Lab.problem()
    if (problem !== undefined) throw new RingpathError(ErrorCode.LAB_SETUP, problem)
    sweepDeadRuns()
    return new Lab(options)
  }

  /** A new directory for files of the lab's programs, removed with the lab. */
  directory(name: string): string {
    this.#checkOpen()
    return mkdtempSync(join(runDirectory(this.id), `${wiring.checkName(name)}-`))
  }

  /**
   * A namespace with loopback up and nothing else: a node or an outside host. Forwards IPv4,
   * filters no source address.
   */
  async namespace(name: string, options: NamespaceOptions = {}): Promise<Namespace> {
    this.#checkOpen()
    const netns = `${namespacePrefix(this.id)}${wiring.checkName(name)}`
    await runOrFail('ip', ['netns', 'add', netns])
    await runOrFail('ip', ['-n', netns, 'link', 'set', 'lo', 'up'])
    const namespace = { name, netns }
    const ipv6 = options.ipv6 === true ? '0' : '1'
    await this.sysctl(namespace, {
      'net.ipv4.ip_forward': '1',
      'net.ipv4.conf.all.rp_filter': '0',
      'net.ipv4.conf.default.rp_filter': '0',
      'net.ipv6.conf.all.disable_ipv6': ipv6,
      'net.ipv6.conf.default.disable_ipv6': ipv6,
    })
    return namespace
  }

  /**
   * A pod on the node: its own namespace with eth0, whose other end is `lxc-<name>` in the node's.
   */
  async pod(node: Namespace, name: string, options: PodOptions): Promise<Pod> {
    const device = wiring.lxcDevice(name)
    const namespace = await this.namespace(name, options)
    const pod: Pod = {
      ...namespace,
      node,
      device,
      address: options.address,
      gateway: options.gateway ?? wiring.DEFAULT_GATEWAY,
      mtuBytes: options.mtu ?? wiring.DEFAULT_MTU_BYTES,
      queues: options.queues ?? 1,
      podMac: wiring.randomMac(),
      hostMac: wiring.randomMac(),
    }
    const spec = { ...pod, podNetns: pod.netns }
    await this.ip(node, wiring.podLinkLines(spec))
    await this.ip(pod, wiring.podAddressLines(spec))
    return pod
  }

  /**
   * The pair ringpath_host and ringpath_net in the node's namespace, with the node's routes to its
   * pods; one for each node.
   */
  async hostPair(node: Namespace, options: HostPairOptions): Promise<HostPair> {
    const pair: HostPair = {
      node,
      hostDevice: wiring.HOST_DEVICE,
      netDevice: wiring.NET_DEVICE,
      address: options.address,
      podCidr: options.podCidr,
      mtuBytes: options.mtu ?? wiring.DEFAULT_MTU_BYTES,
      queues: options.queues ?? 1,
      hostMac: wiring.randomMac(),
      netMac: wiring.randomMac(),
    }
    await this.ip(node, wiring.hostPairLines(pair))
    // The engine hands the stack packets that already have an address of the node as their source.
    await this.sysctl(node, { [`net.ipv4.conf.${pair.hostDevice}.accept_local`]: '1' })
    return pair
  }

  /** A veth pair between any two namespaces, for outside hosts and uplinks. */
  async link(ends: { readonly a: LinkEnd; readonly b: LinkEnd } & DeviceOptions): Promise<Link> {
    const a = { ...ends.a, mac: ends.a.mac ?? wiring.randomMac() }
    const b = { ...ends.b, mac: ends.b.mac ?? wiring.randomMac() }
    const device = { mtuBytes: ends.mtu ?? wiring.DEFAULT_MTU_BYTES, queues: ends.queues ?? 1 }
    await this.ip(a.ns, wiring.linkLines(a, b, b.ns.netns, device))
    await this.ip(b.ns, wiring.linkEndLines(b))
    return { a, b }
  }

  /** Runs lines of `ip -batch` in the namespace; the first that fails stops it. */
  async ip(ns: Namespace, lines: readonly string[]): Promise<void> {
    this.#checkOpen()
    await runOrFail('ip', ['-n', ns.netns, '-batch', '-'], { input: `${lines.join('\n')}\n` })
  }

  async sysctl(ns: Namespace, settings: Readonly<Record<string, string>>): Promise<void> {
    const args = Object.entries(settings).map(([key, value]) => `${key}=${value}`)
    await runOrFail('ip', ['netns', 'exec', ns.netns, 'sysctl', '-q', '-w', ...args])
  }

  /**
   * Runs a program in the namespace to its end, whatever its exit code.
   * @throws RingpathError LAB_SETUP when it cannot be started, LAB_TIMEOUT when it does not end in
   *   time (30 s by default).
   */
  async exec(
    ns: Namespace,
    command: string,
    args: readonly string[] = [],
    options: CommandOptions = {},
  ): Promise<CommandResult> {
    this.#checkOpen()
    const result = await run('ip', ['netns', 'exec', ns.netns, command, ...args], options)
    if (result.code !== 0 && /^exec of .* failed/.test(result.stderr)) {
      throw new RingpathError(ErrorCode.LAB_SETUP, `${result.stderr.trim()} (scripts/setup.sh)`)
    }
    return result
  }

  /** Starts a program in the namespace that runs until it ends, is stopped, or the lab closes. */
  spawn(ns: Namespace, command: string, args: readonly string[] = []): LabProcess {
    this.#checkOpen()
    // `ip netns exec` becomes the program (exec), so its pid is the program's.
    const child = new LabProcess('ip', ['netns', 'exec', ns.netns, command, ...args])
    this.#processes.add(child)
    const forget = () => this.#processes.delete(child)
    child.ended.then(forget, forget)
    return child
  }

  /** Those that run in the background. */
  get processes(): readonly LabProcess[] {
    return [...this.#processes]
  }

  /**
   * Ends the lab's processes and removes its namespaces with all devices in them; closing again
   * does nothing.
   */
  async close(): Promise<void> {
    if (!this.#isOpen) return
    const processes = [...this.#processes]
    this.#remove()
    await Promise.allSettled(processes.map((child) => child.ended))
    if (this.#janitor.exitCode === null && this.#janitor.signalCode === null) {
      this.#janitor.ref()
      this.#janitor.kill('SIGKILL')
      await once(this.#janitor, 'exit')
    }
  }

  #remove(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#releaseExitHook()
    for (const child of this.#processes) child.kill('SIGKILL')
    removeRun(this.id)
  }

  #checkOpen(): void {
    if (this.#isOpen) return
    throw new RingpathError(ErrorCode.LAB_SETUP, `lab ${this.id} is closed`)
  }
}

function startJanitor(id: string): ChildProcess {
  const script = fileURLToPath(new URL('./janitor.js', import.meta.url))
  const janitor = spawn(process.execPath, [script, id], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // Without a janitor the next run's sweep does its work; neither must keep this process alive.
  janitor.on('error', () => undefined)
  janitor.unref()
  const pipe = janitor.stdin as typeof janitor.stdin & { unref?: () => void }
  pipe?.unref?.()
  return janitor
}
