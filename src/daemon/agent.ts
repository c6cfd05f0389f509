/**
 * The agent of a node: declared state in, a running dataplane out. It owns nothing that must not
 * die: maps lie in files, the datapath is a process of its own, documents and what was applied are
 * written down. A new agent goes on where one was killed.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { DesiredState } from '../k8s/desired-state.js'
import type { Problem } from '../k8s/problem.js'
import { problemText } from '../k8s/problem.js'
import type { NodeDocument } from '../k8s/ringpath-documents.js'
import { FlowLog } from '../observe/flow-log.js'
import { type AgentGauges, NodeMetrics } from '../observe/metrics.js'
import { NameBook } from '../observe/names.js'
import { NodeView } from '../observe/node-view.js'
import { ruleNames } from '../observe/rule-names.js'
import { DatapathMaps } from '../pipeline/datapath-maps.js'
import { Applied } from './applied.js'
import { CaptureService } from './capture-service.js'
import { ControllerTarget } from './controller-target.js'
import { DatapathSupervisor, type SupervisorEvents } from './datapath-supervisor.js'
import { DocumentStore, type Proposal } from './document-store.js'
import type { Log } from './log.js'
import { ManifestWatcher, readManifestDirectory } from './manifest-directory.js'
import { chooseSizes } from './map-size-check.js'
import { NodeController } from './node-controller.js'
import { NodeFile } from './node-drift.js'
import { macOfDevice, nodeObjects } from './node-objects.js'
import { type NodePaths, nodePaths } from './node-paths.js'
import { PolicyController } from './policy-controller.js'
import { Role, takeRole } from './process-lock.js'
import { applyChanges, type Change, type Failure, type NodeObject, plan } from './reconcile.js'
import { restore } from './restore.js'
import { NOT_MANAGED, NodeSetup, type SetupStatus } from './setup/node-setup.js'
import { setupPlan } from './setup/setup-plan.js'
import { NotWritten } from './state-file.js'
import { defaultWorkers } from './worker-count.js'

/** A change that failed is tried again: the device of an endpoint may only be about to appear. */
const RETRY_MILLISECONDS = 1_000
const EVENTS_MILLISECONDS = 50
/**
 * What somebody took away of the node's set-up is set up again, and devices that were made anew are
 * known by their new MAC addresses.
 */
const SETUP_MILLISECONDS = 10_000
/** Uplinks stop answering for announced addresses when nothing is heard for 15 s. */
const ALIVE_MILLISECONDS = 3_000

export class Agent {
  readonly node: NodeDocument
  readonly paths: NodePaths
  readonly log: Log
  readonly maps: DatapathMaps
  readonly controller: NodeController
  readonly policies: PolicyController
  readonly flows: FlowLog
  readonly supervisor: DatapathSupervisor
  readonly store: DocumentStore
  readonly view: NodeView
  readonly metrics: NodeMetrics
  readonly captures: CaptureService
  readonly startedAt = new Date()
  readonly #applied: Applied
  readonly #target: ControllerTarget
  readonly #timers: NodeJS.Timeout[] = []
  #watcher: ManifestWatcher | undefined
  #failures: readonly Failure[] = []
  #problems: readonly Problem[] = []
  /** MAC addresses that the last reconciliation found, by device. */
  #macs: ReadonlyMap<string, string | undefined> = new Map()
  /** Why the record of what is applied is behind; empty when it is not. */
  #unsaved: readonly Problem[] = []
  readonly #sizeProblems: readonly Problem[]
  #names = new NameBook()
  #setup: NodeSetup | undefined
  readonly #file: NodeFile | undefined

  /**
   * @param directory in which the node's document is
   * @param file the document itself; changes of it are told
   * @throws RingpathError PROCESS_RUNNING when the state directory has an agent already,
   *   CONFIG_INVALID when its documents are damaged
   */
  constructor(node: NodeDocument, log: Log, directory = '/', file?: string) {
    this.node = node
    this.log = log
    this.paths = nodePaths(node, directory)
    const { stateDirectory, dataDirectory } = this.paths
    mkdirSync(dataDirectory, { recursive: true, mode: 0o700 })
    takeRole(stateDirectory, Role.AGENT)
    // Before anything is changed: with damaged documents nothing is.
    this.store = new DocumentStore(join(dataDirectory, 'documents.json'), node)
    const { cores, workers = cores?.length ?? defaultWorkers() } = node.spec.datapath
    const { sizes, problems } = chooseSizes(node, stateDirectory)
    // A datapath that is adopted may have more, each with an event ring.
    const rings = Math.max(workers, sizes.workers ?? 1)
    this.maps = DatapathMaps.createFiles(stateDirectory, { ...sizes, workers: rings })
    this.#sizeProblems = problems
    for (const problem of problems) log.warn(`not changed: ${problemText(problem)}`)
    this.#file = file === undefined ? undefined : new NodeFile(file, node)
    this.flows = new FlowLog(this.maps.events)
    this.#applied = new Applied(stateDirectory)
    for (const problem of this.#applied.problems) log.error(`record lost: ${problemText(problem)}`)
    const { maglevTableSize } = node.spec.services
    this.controller = new NodeController(this.maps, { maglevTableSize })
    const { identities } = this.#applied
    const { allowLocalhost } = node.spec
    this.policies = new PolicyController(this.controller, this.maps, { identities, allowLocalhost })
    this.#target = new ControllerTarget(this.controller, this.policies)
    this.view = new NodeView(
      stateDirectory,
      this.maps,
      () => this.#names,
      () => this.supervisor.status.pid ?? 0,
    )
    this.captures = new CaptureService(this.view)
    this.metrics = new NodeMetrics(this.view, () => this.#gauges())
    const { pinDirectory } = this.paths
    const settings = { ...node.spec.datapath, workers, pinDirectory }
    const events: SupervisorEvents = {
      up: (pid, isAdopted, milliseconds) => {
        const text = isAdopted ? 'datapath adopted' : 'datapath started'
        log.info({ pid, milliseconds: Math.round(milliseconds) }, text)
        for (const problem of this.supervisor.drift) log.warn(`not yet: ${problemText(problem)}`)
      },
      down: (pid) => log.error({ pid }, 'datapath died; its pods are closed until another is up'),
      stalled: (pid, reason) => log.error({ pid, reason }, 'datapath hangs: killing it'),
      handedOver: (pid, successor) => log.info({ pid, successor }, 'datapath handed over'),
      failed: (error) =>
        log.error({ error: error.message }, 'datapath did not start; trying again'),
    }
    const { name } = node.metadata
    this.supervisor = new DatapathSupervisor(stateDirectory, settings, events, name)
  }

  /** Brings the node to its desired state and the datapath to life; resolves when frames flow. */
  async start(): Promise<void> {
    if (this.node.spec.host?.managed === true) {
      this.#setup = new NodeSetup(this.paths.stateDirectory, this.log)
      this.#setUpNode()
    }
    const restored = restore(this.#applied, this.maps, this.controller, this.#target)
    for (const { object, message } of restored) {
      this.log.warn({ kind: object.kind, name: object.name, error: message }, 'not taken over')
    }
    this.readManifests()
    // Rules have other numbers than under the agent before.
    this.#save()
    this.policies.releaseRestored()
    const gone = this.controller.deleteUnclaimedServices()
    if (gone > 0) this.log.info({ frontends: gone }, 'services of an earlier agent deleted')
    const { manifests } = this.paths
    this.#watcher = new ManifestWatcher(manifests, () => this.readManifests())
    this.controller.netdev.signAlive()
    this.#timers.push(
      setInterval(() => this.#retry(), RETRY_MILLISECONDS),
      setInterval(() => this.flows.poll(), EVENTS_MILLISECONDS),
      setInterval(() => this.controller.netdev.signAlive(), ALIVE_MILLISECONDS),
      setInterval(() => this.#renew(), SETUP_MILLISECONDS),
    )
    await this.supervisor.start()
  }

  /** Leaves the datapath running, unless told otherwise. */
  async stop(stopDatapath: boolean): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#watcher?.close()
    this.#setup?.close()
    this.#setup = undefined
    if (stopDatapath) await this.supervisor.stop()
    else this.supervisor.release()
  }

  /** What is wrong with the documents as they are; their last good versions are in force. */
  get problems(): readonly Problem[] {
    const inFile = this.#file?.problems ?? []
    const ofRecord = [...this.#applied.problems, ...this.#unsaved]
    const { drift } = this.supervisor
    return [...this.#sizeProblems, ...inFile, ...drift, ...ofRecord, ...this.#problems]
  }

  /** Changes that could not be carried out and are tried again. */
  get failures(): readonly Failure[] {
    return this.#failures
  }

  get appliedObjects(): readonly NodeObject[] {
    return this.#applied.objects
  }

  get setup(): SetupStatus {
    return this.#setup?.status ?? NOT_MANAGED
  }

  /** @param isRetry with nothing new in the directory: what was told before is not logged again */
  readManifests(isRetry = false): void {
    const { manifests } = this.paths
    const told = new Set(isRetry ? this.#problems.map(problemText) : [])
    const { files, unreadable, problem } = readManifestDirectory(manifests)
    this.#problems = []
    if (problem !== undefined) this.#problems = [unread(manifests, 'directory', problem)]
    if (problem !== undefined && this.store.hasFiles) {
      // A file system that is away for a moment must not take the node's pods with it.
      if (!this.#problems.every((p) => told.has(problemText(p)))) {
        this.log.error({ manifests, error: problem }, 'manifests not read: they stay as they were')
      }
      this.reconcile()
      return
    }
    const away = [...unreadable].map(([file, error]) => unread(file, 'file', error))
    const refused = this.store.setFiles(files, unreadable.keys())
    this.#problems = [...this.#problems, ...away, ...refused]
    for (const problem of this.#problems) {
      const text = problemText(problem)
      if (!told.has(text)) this.log.error({ file: problem.source }, `manifest refused: ${text}`)
    }
    this.reconcile()
  }

  /** Documents of a request: all in force afterwards, or none and NotWritten. */
  apply(proposal: Proposal): readonly Failure[] {
    proposal.commit?.()
    return this.reconcile()
  }

  /** What applying a state would change, in order; nothing is done. */
  diff(state: DesiredState): Change[] {
    return plan(this.#objectsOf(state), this.#applied.objects)
  }

  reconcile(): readonly Failure[] {
    const macs = new Map<string, string | undefined>()
    const objects = this.#objectsOf(this.store.state, (device) => {
      const mac = macOfDevice(device)
      macs.set(device, mac)
      return mac
    })
    this.#macs = macs
    const changes = plan(objects, this.#applied.objects)
    this.#failures = applyChanges(changes, this.#target, (change) => {
      this.#applied.note(change)
      const { kind, name, fields } = change
      this.log.info({ kind, name, ...(fields.length > 0 ? { fields } : {}) }, change.action)
    })
    if (changes.length > this.#failures.length) this.#save()
    this.#setUpNode()
    for (const { change, message } of this.#failures) {
      const { kind, name, action } = change
      this.log.debug({ kind, name, action, error: message }, 'change failed; trying again')
    }
    return this.#failures
  }

  /** @param isThorough also what was set up before */
  #setUpNode(isThorough = false): void {
    const plan = setupPlan(this.node, this.store.state)
    if (plan === undefined || this.#setup === undefined) return
    if (isThorough) this.#setup.renew(plan)
    else this.#setup.apply(plan)
  }

  /**
   * The kernel's side may have changed with no document. Nothing of the desired state but the MAC
   * addresses comes from there, so that a reading of each is all it costs, whatever the node holds;
   * one that comes and goes is followed every ten seconds at most.
   */
  #renew(): void {
    this.#setUpNode(true)
    const isOther = [...this.#macs].some(([device, mac]) => macOfDevice(device) !== mac)
    if (isOther) this.reconcile()
  }

  #retry(): void {
    if (this.store.isBehind) this.readManifests(true)
    else if (this.#failures.length > 0) this.reconcile()
    if (this.#unsaved.length > 0) this.#save()
    if (this.#file?.look() !== true) return
    for (const problem of this.#file.problems) {
      this.log.warn(`not in force: ${problemText(problem)}`)
    }
    if (this.#file.problems.length === 0) this.log.info('the Node document is as it was again')
  }

  #save(): void {
    const identities = this.policies.identities.snapshot()
    const { rules } = this.policies
    const cookies = ruleNames(this.maps, (cookie) => rules.ruleNameOf(cookie))
    this.#names = new NameBook({ objects: this.#applied.objects, identities, cookies })
    try {
      this.#applied.save(identities, cookies)
      this.#unsaved = []
    } catch (error) {
      if (!(error instanceof NotWritten)) throw error
      const text = problemText(error.problem)
      // The maps are right, and a new agent believes them rather than an old record.
      if (this.#unsaved.length === 0) this.log.error(`record of what is applied: ${text}`)
      this.#unsaved = [error.problem]
    }
  }

  #gauges(): AgentGauges {
    const { isReady, deaths, lastRepairMilliseconds = 0 } = this.supervisor.status
    return {
      isDatapathUp: isReady,
      datapathDeaths: deaths,
      repairSeconds: lastRepairMilliseconds / 1_000,
      eventsSeen: this.flows.count,
      eventsLost: this.flows.lost,
      problems: this.problems.length,
      failures: this.#failures.length,
    }
  }

  #objectsOf(state: DesiredState, macOf = macOfDevice): NodeObject[] {
    return nodeObjects(this.node, state, {
      macOf,
      idOf: (name) => {
        const id = this.#applied.get(`Endpoint ${name}`)?.spec.id
        return typeof id === 'number' ? id : undefined
      },
    })
  }
}

function unread(source: string, object: string, found: string): Problem {
  return { source, object, field: '', found, expected: `a ${object} that can be read` }
}
