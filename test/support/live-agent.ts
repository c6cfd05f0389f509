/** A node run by a real agent on real AF_XDP: namespaces, manifests in a directory, commands. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { holderOf, Role } from '../../src/daemon/process-lock.js'
import type { CommandResult } from '../../src/lab/command.js'
import { Lab, type Namespace, type Pod } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import { PinDirectory } from './pin-directory.js'

const CLI = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))
const NODE_ADDRESS = '10.0.0.1'
const POD_CIDR = '10.0.1.0/24'
const READY = /"msg":"agent ready"/

export interface AgentStatus {
  readonly agent: { readonly pid: number }
  readonly datapath: {
    readonly pid?: number
    readonly standbyPid?: number
    readonly isReady: boolean
    readonly deaths: number
    readonly lastRepairMilliseconds?: number
  }
  readonly problems: readonly string[]
}

export interface LiveAgentOptions {
  /** Of several nodes, which are closed with it; one of its own unless given. */
  readonly lab?: Lab
  /** Lines under `spec` of the Node document. */
  readonly spec?: string
  /** Of the node, as YAML. */
  readonly labels?: string
  /** Of its host pair, 10.0.0.1 unless given, and of its pods, 10.0.1.0/24. */
  readonly address?: string
  readonly podCidr?: string
  /** The datapath's code is trained first: for tests that look at times. */
  readonly isTrained?: boolean
}

export class LiveAgent {
  readonly lab: Lab
  readonly node: Namespace
  readonly directory: string
  readonly pins: PinDirectory
  process: LabProcess | undefined

  readonly #options: LiveAgentOptions

  private constructor(lab: Lab, node: Namespace, options: LiveAgentOptions) {
    this.lab = lab
    this.node = node
    this.directory = mkdtempSync(join(tmpdir(), 'rp-agent-'))
    this.pins = new PinDirectory(lab)
    this.#options = options
  }

  /** A node as the kernel makes it: the agent sets up what it needs. */
  static async create(name: string, options: LiveAgentOptions = {}): Promise<LiveAgent> {
    const lab = options.lab ?? (await Lab.create({ name }))
    const node = await lab.namespace(options.lab === undefined ? 'node' : name)
    await lab.sysctl(node, {
      'net.ipv4.ip_forward': '0',
      'net.ipv4.conf.all.rp_filter': '1',
    })
    const live = new LiveAgent(lab, node, options)
    mkdirSync(live.path('manifests'))
    live.writeNode(options.spec)
    return live
  }

  /** @param spec lines under `spec` of the Node document, without indentation */
  writeNode(spec = ''): void {
    writeFileSync(this.path('node.yaml'), this.#nodeDocument(spec))
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /** A pod, and its Endpoint document with the label app=<name>. */
  async pod(name: string, address: string): Promise<Pod> {
    const pod = await this.lab.pod(this.node, name, { address })
    this.endpoint(pod)
    return pod
  }

  /** @param more fields of its spec, such as ", id: 7" */
  endpoint({ name, device, address, podMac }: Pod, more = ''): void {
    this.manifest(
      `endpoint-${name}.yaml`,
      `apiVersion: ringpath.io/v1
kind: Endpoint
metadata: { name: ${name}, labels: { app: ${name} } }
spec: { device: ${device}, address: ${address}, mac: "${podMac}"${more} }
`,
    )
  }

  manifest(name: string, text: string): void {
    writeFileSync(join(this.path('manifests'), name), text)
  }

  removeManifest(name: string): void {
    rmSync(join(this.path('manifests'), name))
  }

  /** Starts an agent, by way of the program `before`, and waits until it says that it is ready. */
  async start(args: readonly string[] = [], before: readonly string[] = []): Promise<LabProcess> {
    const agentArgs = ['agent', '-c', this.path('node.yaml'), ...args]
    const command = [...before, process.execPath, '--enable-source-maps', CLI, ...agentArgs]
    const agent = this.lab.spawn(this.node, command[0] ?? '', command.slice(1))
    this.process = agent
    await agent.waitForOutput(READY)
    return agent
  }

  /** With another Node document; the datapath goes on meanwhile. */
  async restart(spec: string): Promise<void> {
    await this.process?.stop('SIGTERM')
    this.writeNode(spec)
    await this.start()
  }

  cli(...args: string[]): Promise<CommandResult> {
    const all = ['--enable-source-maps', CLI, ...args, '--state', this.path('state')]
    return this.lab.exec(this.node, process.execPath, all)
  }

  /** A command that goes on. */
  spawnCli(...args: string[]): LabProcess {
    const all = ['--enable-source-maps', CLI, ...args, '--state', this.path('state')]
    return this.lab.spawn(this.node, process.execPath, all)
  }

  async json<T>(...args: string[]): Promise<T> {
    const { stdout, stderr } = await this.cli(...args, '-o', 'json')
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as T
  }

  status(): Promise<AgentStatus> {
    return this.json<AgentStatus>('status')
  }

  /** Waits until the condition holds; fails with what the agent printed when it does not. */
  async until(what: string, holds: () => Promise<boolean>, milliseconds = 20_000): Promise<void> {
    const deadline = performance.now() + milliseconds
    while (!(await holds())) {
      if (performance.now() > deadline) throw new Error(`${what}: ${this.process?.output}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async close(): Promise<void> {
    await this.process?.stop()
    for (const role of [Role.STANDBY, Role.DATAPATH]) {
      const pid = holderOf(this.path('state'), role)
      if (pid !== undefined) killQuietly(pid)
    }
    if (this.#options.lab === undefined) await this.lab.close()
    rmSync(this.directory, { recursive: true, force: true })
  }

  #nodeDocument(spec: string): string {
    const { labels = '{}', address = NODE_ADDRESS, podCidr = POD_CIDR } = this.#options
    const { isTrained = false } = this.#options
    const datapath = `{ training: ${isTrained}, pinDirectory: ${this.pins.path} }`
    return `apiVersion: ringpath.io/v1
kind: Node
metadata: { name: ${this.node.name}, labels: ${labels} }
spec:
  stateDirectory: ${this.path('state')}
  dataDirectory: ${this.path('data')}
  manifests: ${this.path('manifests')}
  podCidrs: [${podCidr}]
  ${/^host:/m.test(spec) ? '' : `host: { addresses: [${address}] }`}
  ${/^maps:/m.test(spec) ? '' : 'maps: { connections: 16384 }'}
  ${/^datapath:/m.test(spec) ? '' : `datapath: ${datapath}`}
${spec.replace(/^(?=.)/gm, '  ')}
`
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended with its agent.
  }
}
