/** A node run by a real agent on real AF_XDP: namespaces, manifests in a directory, commands. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { holderOf, Role } from '../../src/daemon/process-lock.js'
import type { CommandResult } from '../../src/lab/command.js'
import { Lab, type Namespace, type Pod } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'

const CLI = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))
const NODE_ADDRESS = '10.0.0.1'
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

export class LiveAgent {
  readonly lab: Lab
  readonly node: Namespace
  readonly directory: string
  process: LabProcess | undefined

  private constructor(lab: Lab, node: Namespace, directory: string) {
    this.lab = lab
    this.node = node
    this.directory = directory
  }

  static async create(name: string): Promise<LiveAgent> {
    const lab = await Lab.create({ name })
    const node = await lab.namespace('node')
    const directory = mkdtempSync(join(tmpdir(), 'rp-agent-'))
    const live = new LiveAgent(lab, node, directory)
    await lab.hostPair(node, { address: NODE_ADDRESS, podCidr: '10.0.1.0/24' })
    mkdirSync(live.path('manifests'))
    writeFileSync(live.path('node.yaml'), live.#nodeDocument())
    return live
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /** A pod, and its Endpoint document with the label app=<name>. */
  async pod(name: string, address: string): Promise<Pod> {
    const pod = await this.lab.pod(this.node, name, { address })
    this.manifest(
      `endpoint-${name}.yaml`,
      `apiVersion: ringpath.io/v1
kind: Endpoint
metadata: { name: ${name}, labels: { app: ${name} } }
spec: { device: ${pod.device}, address: ${address}, mac: "${pod.podMac}" }
`,
    )
    return pod
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

  cli(...args: string[]): Promise<CommandResult> {
    const all = ['--enable-source-maps', CLI, ...args, '--state', this.path('state')]
    return this.lab.exec(this.node, process.execPath, all)
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
  async until(what: string, holds: () => Promise<boolean>, milliseconds = 5_000): Promise<void> {
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
    await this.lab.close()
    rmSync(this.directory, { recursive: true, force: true })
  }

  #nodeDocument(): string {
    return `apiVersion: ringpath.io/v1
kind: Node
metadata: { name: live }
spec:
  stateDirectory: ${this.path('state')}
  dataDirectory: ${this.path('data')}
  manifests: ${this.path('manifests')}
  podCidrs: [10.0.1.0/24]
  host: { addresses: [${NODE_ADDRESS}] }
  maps: { connections: 16384 }
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
