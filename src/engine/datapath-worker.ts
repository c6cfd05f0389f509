/**
 * A worker thread of the datapath: opens the node's maps, attaches the ports that they ask for or
 * gets them from the datapath before, and turns the burst loop until it is stopped or has handed over.
 */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { removePins } from 'xdp-socket-napi'
import { assert } from '../base/assert.js'
import { BURST_CAPACITY, PORTS_MAX } from '../base/limits.js'
import { ConntrackGc } from '../conntrack/ct-gc.js'
import type { EndpointTable } from '../endpoint/endpoint-table.js'
import { WORKER_CELLS } from '../monitor/worker-statistics.js'
import { NatGc } from '../nat/nat-gc.js'
import type { Burst } from '../packet/burst.js'
import { DatapathMaps } from '../pipeline/datapath-maps.js'
import { FlowNews } from '../pipeline/flow-news.js'
import { Pipeline } from '../pipeline/pipeline.js'
import { StageTimer } from '../pipeline/stage-timer.js'
import { PortMode, type PortTable } from '../port/port-table.js'
import { WorkerTeam } from '../port/worker-team.js'
import { pinName } from '../port/xsk-attachment.js'
import type { XskExchange, XskExchangeOptions } from '../port/xsk-exchange.js'
import { BurstLoop, type Housekeeping } from './burst-loop.js'
import { CaptureTask, openCaptureRing } from './capture-task.js'
import { Control, Order, type WorkerInput, type WorkerMessage } from './control.js'
import { HandoverGiver } from './handover/giver.js'
import { HandoverRefused, HandoverTaker } from './handover/taker.js'
import { Heartbeat } from './heartbeat.js'
import { IdleStrategy } from './idle-strategy.js'
import { type DevicePorts, PortManager } from './port-manager.js'
import { readMtu } from './port-mtu-task.js'
import { StatisticsPublisher } from './statistics-publisher.js'
import { trainWorker } from './training/training.js'
import { UplinkSteering } from './uplink-steering.js'
import { takeCore } from './worker-cores.js'
import { WorkerMemory } from './worker-memory.js'
import { WorkerMeter } from './worker-meter.js'

function send(message: WorkerMessage): void {
  parentPort?.postMessage(message)
}

const log = (line: string): void => send({ type: 'log', line })

function exchangeOptions(input: WorkerInput, team: WorkerTeam | undefined): XskExchangeOptions {
  const { frameCount, busyPollMicroseconds: microseconds, pinDirectory } = input
  return {
    frameCount,
    ...(team === undefined ? {} : { team }),
    ...(microseconds > 0 ? { busyPoll: { microseconds } } : {}),
    ...(pinDirectory === undefined ? {} : { pinDirectory }),
  }
}

/** What of an Order there is; WAIT when it is told to stop instead. */
function waitForOrder(control: Int32Array): number {
  for (;;) {
    if (Atomics.load(control, Control.STOP) !== 0) return Order.WAIT
    const order = Atomics.load(control, Control.GO)
    if (order !== Order.WAIT) return order
    Atomics.wait(control, Control.GO, Order.WAIT)
  }
}

/** So long the devices of a datapath that just died may be busy. */
const BUSY_MILLISECONDS = 500
const BUSY_RETRY_MILLISECONDS = 5
/** So long the other workers may take to join the ports. */
const JOINING_MILLISECONDS = 5_000
const NANOSECONDS_PER_MILLISECOND = 1e6

/** Everything that works on one exchange. */
class Engine {
  readonly exchange: XskExchange
  readonly burst: Burst
  readonly #control: Int32Array
  readonly #input: WorkerInput
  readonly #ports: PortManager
  readonly #endpoints: EndpointTable
  readonly #table: PortTable
  readonly #steering: UplinkSteering
  readonly #pipeline: Pipeline
  readonly #publisher: StatisticsPublisher
  readonly #heartbeat: Heartbeat
  readonly #capture: CaptureTask
  readonly #loop: BurstLoop
  #giver: HandoverGiver | undefined

  /** @param goesOn the exchange is another process's yet: nothing may be changed for it */
  constructor(
    input: WorkerInput,
    maps: DatapathMaps,
    memory: WorkerMemory,
    goesOn: boolean,
    team?: WorkerTeam,
  ) {
    const { exchange, packet, lane } = memory
    this.burst = memory.burst
    const place = { index: input.worker, of: input.workers }
    const control = new Int32Array(input.control)
    this.#control = control
    this.#input = input
    this.exchange = exchange
    const state = maps.stateFor(input.worker, undefined, goesOn)
    maps.forgetWorkersFrom(input.workers)
    send({ type: 'prepared' })
    // Its own until frames flow: one that stands by must not touch the rows of the one that runs.
    const cells = new Float64Array(WORKER_CELLS)
    const timer = new StageTimer(cells)
    this.#pipeline = new Pipeline(state, packet, BURST_CAPACITY, {
      lane,
      news: input.news && new FlowNews(input.news, input.worker),
      timer,
    })
    const programOf = (port: number) => exchange.program(port)
    this.#steering = new UplinkSteering(maps, state.nat.portUse, programOf, log)
    this.#table = maps.ports
    this.#heartbeat = new Heartbeat(input.stateDirectory, input.worker)
    this.#endpoints = maps.endpoints
    this.#ports = new PortManager(maps.ports, this.#devices(), log, this.#steering, team?.ports)
    this.#publisher = new StatisticsPublisher(exchange, maps.portStatistics.row(input.worker))
    const openRing = (worker: number) => openCaptureRing(input.stateDirectory, worker)
    const { worker } = input
    this.#capture = new CaptureTask(maps.capture, this.#pipeline, packet, openRing, log, worker)
    const idle = new IdleStrategy(input.idle)
    const shared = { cells: maps.workerStatistics.row(worker), rings: maps.portRings.row(worker) }
    const meter = new WorkerMeter(exchange, cells, shared, () => ({
      frames: this.#loop.frames,
      bursts: this.#loop.bursts,
      repeated: this.#pipeline.framesRepeated,
      sleeps: idle.sleeps,
    }))
    const conntrackGc = new ConntrackGc(maps.conntrackTable, place)
    const housekeeping = [
      { step: () => this.#beat() },
      { step: (now: number) => this.#stepPorts(now) },
      this.#steering,
      conntrackGc,
      new NatGc(state.nat, maps.conntrackTable, conntrackGc, place),
      new ConntrackGc(maps.fragmentsMap, place),
      this.#publisher,
      meter,
      this.#pipeline,
      this.#capture,
      // The last one: after a hand-over nothing here may be touched.
      this.#handover(),
    ]
    this.#loop = new BurstLoop(exchange, this.#pipeline, idle, housekeeping, this.burst)
    this.#loop.meter = meter
  }

  /** Attaches the devices that the maps name; they are there when it returns. */
  attach(): void {
    const control = this.#control
    this.exchange.begin(this.burst)
    this.#loop.turn()
    const deadline = performance.now() + BUSY_MILLISECONDS
    while (performance.now() < deadline && this.#ports.retryBusy(this.burst.nowSeconds)) {
      Atomics.wait(control, Control.STOP, 0, BUSY_RETRY_MILLISECONDS)
    }
    // Every worker has its sockets, or the port is one that is tried again.
    const joined = performance.now() + JOINING_MILLISECONDS
    while (this.#ports.isPending && performance.now() < joined) this.#loop.turn()
    this.#steering.finish()
    this.#forgetPins()
  }

  /** Takes the place of the process whose ports these are. Throws when it went away instead. */
  takeOver(taker: HandoverTaker): void {
    for (const { description, made } of taker.ports) {
      const { port, device, mode } = description
      this.#ports.adopt(port, device, mode, made)
      readMtu(this.#endpoints, port, device)
    }
    const stopped = taker.take(this.burst)
    // Before the turn: in it a port that was given up meanwhile is detached, and told so.
    for (const { description, made } of taker.ports) {
      this.#ports.report(description.port, made)
    }
    this.#loop.turn()
    const silent = Number(process.hrtime.bigint() - stopped) / NANOSECONDS_PER_MILLISECOND
    // Not before nothing can fail any more: else it is the other one's still.
    takeCore(this.#input.core)
    send({ type: 'taken over', ports: taker.ports.length, silentMilliseconds: silent })
  }

  /** Until it is told to stop, or another process has the ports. */
  run(): void {
    const { stateDirectory, worker, workers } = this.#input
    const settle = (): void => this.#settle()
    const { exchange, burst } = this
    const giver = new HandoverGiver({
      stateDirectory,
      worker,
      workers,
      exchange,
      burst,
      settle,
      log,
    })
    this.#giver = giver
    Atomics.store(this.#control, Control.WAKE_FD, exchange.wakeFd)
    this.#heartbeat.begin()
    send({ type: 'ready' })
    const control = this.#control
    try {
      while (Atomics.load(control, Control.STOP) === 0 && !giver.isOver) this.#loop.turn()
    } finally {
      // Its number may soon be another file's.
      Atomics.store(control, Control.WAKE_FD, 0)
    }
    this.#heartbeat.end()
    const { frames } = this.#loop
    if (giver.isOver) {
      send({ type: 'handed over', frames, successor: giver.successor })
      return
    }
    giver.close()
    this.#settle()
    this.#capture.close()
    exchange.close()
    assert(exchange.framesOnRings === 0, 'frames were left on a ring after close')
    send({ type: 'stopped', frames })
  }

  #beat(): void {
    Atomics.add(this.#control, Control.HEARTBEAT, 1)
    this.#heartbeat.step()
  }

  /** Hundreds may be attached in one step of housekeeping; each is a sign of life. */
  #devices(): DevicePorts {
    const { exchange } = this
    return {
      attach: (port, device, mode) => {
        this.#beat()
        const made = exchange.attach(port, device, mode)
        readMtu(this.#endpoints, port, device)
        return made
      },
      detach: (port) => {
        this.#beat()
        exchange.detach(port)
      },
      lostPorts: () => exchange.lostPorts(),
    }
  }

  #handover(): Housekeeping {
    const giver = (): HandoverGiver | undefined => this.#giver
    return {
      step: () => giver()?.step(),
      get hasMore() {
        return giver()?.hasMore === true
      },
    }
  }

  /** Of devices that were given up while no datapath was there. */
  #forgetPins(): void {
    const { pinDirectory } = this.#input
    if (pinDirectory === undefined) return
    const wanted = new Set<string>()
    for (let port = 0; port < PORTS_MAX; port++) {
      if (this.#table.mode(port) !== PortMode.NONE) wanted.add(pinName(this.#table.device(port)))
    }
    for (const entry of readdirSync(pinDirectory, { withFileTypes: true })) {
      // A bpffs may have files of the kernel's own.
      const isOurs = entry.isDirectory()
      if (isOurs && !wanted.has(entry.name)) removePins(join(pinDirectory, entry.name))
    }
  }

  #stepPorts(nowSeconds: number): void {
    if (this.#giver?.isOffering !== true) this.#ports.step(nowSeconds)
  }

  #settle(): void {
    this.#pipeline.settle()
    this.#publisher.publish()
  }
}

/** An engine on the sockets of the present datapath; undefined, with the reason told, without. */
function takenOver(
  input: WorkerInput,
  maps: DatapathMaps,
  memory: WorkerMemory,
): Engine | undefined {
  const { exchange } = memory
  let taker: HandoverTaker | undefined
  try {
    const { stateDirectory, worker, workers } = input
    // One that goes away in the middle would leave a port whose queues are two processes'.
    if (workers > 1) throw new HandoverRefused('a datapath with several workers takes ports anew')
    taker = HandoverTaker.prepare({ stateDirectory, worker, exchange })
    const engine = new Engine(input, maps, memory, true)
    engine.takeOver(taker)
    return engine
  } catch (error) {
    taker?.close()
    // What is, or was a moment ago, the other process's is left as it is.
    if (taker !== undefined || exchange.isAdopting) exchange.handOver()
    else exchange.close()
    const reason = error instanceof Error ? error.message : String(error)
    send({ type: 'not taken over', reason, isRefused: error instanceof HandoverRefused })
    return undefined
  }
}

/** The engine that is to run, once it has its ports; undefined when it is told to stop before. */
function startEngine(input: WorkerInput, maps: DatapathMaps): Engine | undefined {
  const control = new Int32Array(input.control)
  const place = { index: input.worker, of: input.workers }
  const team = input.team && new WorkerTeam(input.team, place)
  const options = exchangeOptions(input, team)
  const flows = maps.conntrackTable.capacity
  let memory = new WorkerMemory(options, flows)
  if (input.isTrained) trainWorker(log, memory)
  if (input.isStandby) send({ type: 'standby' })
  for (;;) {
    const order = input.isStandby ? waitForOrder(control) : Order.ATTACH
    if (order === Order.ATTACH) {
      // Until now the core may have been another datapath's, with packets to move.
      takeCore(input.core)
      const engine = new Engine(input, maps, memory, false, team)
      engine.attach()
      return engine
    }
    if (order === Order.WAIT) {
      memory.exchange.close()
      return undefined
    }
    const engine = takenOver(input, maps, memory)
    if (engine !== undefined) return engine
    memory = new WorkerMemory(options, flows)
    Atomics.compareExchange(control, Control.GO, Order.TAKE_OVER, Order.WAIT)
  }
}

const input = workerData as WorkerInput
startEngine(input, DatapathMaps.openFiles(input.stateDirectory))?.run()
