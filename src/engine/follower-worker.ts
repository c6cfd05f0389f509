/**
 * A worker thread beside the first one (datapath-worker.ts): its own packet memory and sockets, the
 * same maps and the same chain. What there is once in a datapath, it leaves to the first: programs,
 * their steering, and the repair of what an earlier datapath left behind.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../base/assert.js'
import { BURST_CAPACITY } from '../base/limits.js'
import { ConntrackGc } from '../conntrack/ct-gc.js'
import { NatGc } from '../nat/nat-gc.js'
import { DatapathMaps } from '../pipeline/datapath-maps.js'
import { FlowNews } from '../pipeline/flow-news.js'
import { Pipeline } from '../pipeline/pipeline.js'
import { WorkerTeam } from '../port/worker-team.js'
import { BurstLoop } from './burst-loop.js'
import { CaptureTask, openCaptureRing } from './capture-task.js'
import { Control, type FollowerInput, type WorkerMessage } from './control.js'
import { Heartbeat } from './heartbeat.js'
import { IdleStrategy } from './idle-strategy.js'
import { NatMarks } from './nat-marks.js'
import { PortFollower } from './port-follower.js'
import { StatisticsPublisher } from './statistics-publisher.js'
import { trainWorker } from './training/training.js'
import { takeCore } from './worker-cores.js'
import { WorkerMemory } from './worker-memory.js'

function send(message: WorkerMessage): void {
  parentPort?.postMessage(message)
}

const log = (line: string): void => send({ type: 'log', line })

/** False when it is told to stop instead. */
function waitForGo(control: Int32Array): boolean {
  while (Atomics.load(control, Control.GO) === 0) {
    if (Atomics.load(control, Control.STOP) !== 0) return false
    Atomics.wait(control, Control.GO, 0)
  }
  return Atomics.load(control, Control.STOP) === 0
}

function run(input: FollowerInput): void {
  const control = new Int32Array(input.control)
  const { worker, place, busyPollMicroseconds: microseconds, pinDirectory } = input
  const team = new WorkerTeam(input.team, place)
  const maps = DatapathMaps.openFiles(input.stateDirectory)
  const options = {
    frameCount: input.frameCount,
    team,
    ...(microseconds > 0 ? { busyPoll: { microseconds } } : {}),
    ...(pinDirectory === undefined ? {} : { pinDirectory }),
  }
  const memory = new WorkerMemory(options, maps.conntrackTable.capacity)
  const { exchange, packet, burst, lane } = memory
  if (input.isTrained) trainWorker(log, memory)
  if (!waitForGo(control)) {
    exchange.close()
    return
  }
  takeCore(input.core)
  const state = maps.stateFor(worker)
  const news = new FlowNews(input.news, worker)
  const pipeline = new Pipeline(state, packet, BURST_CAPACITY, { lane, news })
  const marks = new NatMarks(state.nat.portUse, (port) => exchange.program(port)?.natPorts)
  const publisher = new StatisticsPublisher(exchange, maps.portStatistics.row(worker))
  const openRing = (index: number) => openCaptureRing(input.stateDirectory, index)
  const capture = new CaptureTask(maps.capture, pipeline, packet, openRing, log, worker)
  const conntrackGc = new ConntrackGc(maps.conntrackTable, place)
  const heartbeat = new Heartbeat(input.stateDirectory, worker)
  const housekeeping = [
    { step: () => Atomics.add(control, Control.HEARTBEAT, 1) },
    heartbeat,
    new PortFollower(maps.ports, exchange, team.ports, log, marks),
    conntrackGc,
    new NatGc(state.nat, maps.conntrackTable, conntrackGc, place),
    new ConntrackGc(maps.fragmentsMap, place),
    publisher,
    pipeline,
    capture,
  ]
  const idle = new IdleStrategy(input.idle)
  const loop = new BurstLoop(exchange, pipeline, idle, housekeeping, burst)
  exchange.begin(burst)
  loop.turn()
  Atomics.store(control, Control.WAKE_FD, exchange.wakeFd)
  heartbeat.begin()
  send({ type: 'ready' })
  try {
    loop.runUntil(control, Control.STOP)
  } finally {
    // Its number may soon be another file's.
    Atomics.store(control, Control.WAKE_FD, 0)
  }
  heartbeat.end()
  pipeline.settle()
  publisher.publish()
  capture.close()
  exchange.close()
  assert(exchange.framesOnRings === 0, 'frames were left on a ring after close')
  send({ type: 'stopped', frames: loop.frames })
}

run(workerData as FollowerInput)
