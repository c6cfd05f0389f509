/**
 * Open vSwitch in a namespace of the lab: a database and a switch of its own, with the datapath in
 * user space, so that nothing of the machine's is touched. Both processes and their
 * files go with the lab, however that ends.
 */
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Lab, Namespace } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'
const START_TIMEOUT_MS = 10_000

export class OpenVSwitch {
  readonly #lab: Lab
  readonly #ns: Namespace
  readonly #directory: string
  readonly #processes: LabProcess[] = []

  private constructor(lab: Lab, ns: Namespace) {
    this.#lab = lab
    this.#ns = ns
    this.#directory = lab.directory('ovs')
  }

  static async start(lab: Lab, ns: Namespace): Promise<OpenVSwitch> {
    const ovs = new OpenVSwitch(lab, ns)
    await ovs.#run('ovsdb-tool', ['create', ovs.#file('conf.db'), SCHEMA])
    const remote = `--remote=punix:${ovs.#file('db.sock')}`
    const control = `--unixctl=${ovs.#file('db.ctl')}`
    await ovs.#spawn('db.sock', 'ovsdb-server', [ovs.#file('conf.db'), remote, control])
    await ovs.configure(['--no-wait', 'init'])
    const database = `unix:${ovs.#file('db.sock')}`
    const switchControl = `--unixctl=${ovs.#file('switch.ctl')}`
    await ovs.#spawn('switch.ctl', 'ovs-vswitchd', [database, switchControl])
    return ovs
  }

  /** The process that moves the packets. */
  get switch(): LabProcess {
    const child = this.#processes.at(-1)
    if (child === undefined) throw new Error('the switch is not running')
    return child
  }

  /** ovs-vsctl(8); returns when the switch has done what the database now says. */
  async configure(args: readonly string[]): Promise<string> {
    return this.#run('ovs-vsctl', [`--db=unix:${this.#file('db.sock')}`, '--timeout=10', ...args])
  }

  /** ovs-ofctl(8) on a bridge, such as 'add-flow' and 'dump-flows'. */
  async flows(command: string, bridge: string, args: readonly string[] = []): Promise<string> {
    const target = `unix:${this.#file(`${bridge}.mgmt`)}`
    return this.#run('ovs-ofctl', ['-O', 'OpenFlow13', command, target, ...args])
  }

  async close(): Promise<void> {
    for (const child of this.#processes.reverse()) if (child.isRunning) await child.stop()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** Until a file of its own says that it listens. */
  async #spawn(sign: string, program: string, args: readonly string[]): Promise<void> {
    const child = this.#lab.spawn(this.#ns, 'env', [...this.#environment, program, ...args])
    this.#processes.push(child)
    const deadline = Date.now() + START_TIMEOUT_MS
    while (!existsSync(this.#file(sign))) {
      if (!child.isRunning || Date.now() > deadline) {
        throw new Error(`${program} did not start: ${child.output}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async #run(program: string, args: readonly string[]): Promise<string> {
    const command = [...this.#environment, program, ...args]
    const { code, stdout, stderr } = await this.#lab.exec(this.#ns, 'env', command)
    if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`)
    return stdout
  }

  get #environment(): string[] {
    return ['OVS_RUNDIR', 'OVS_LOGDIR', 'OVS_DBDIR'].map((name) => `${name}=${this.#directory}`)
  }

  #file(name: string): string {
    return join(this.#directory, name)
  }
}
