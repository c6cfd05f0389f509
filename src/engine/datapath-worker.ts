/**
 * A worker thread of the datapath: opens the node's maps, attaches the ports that they ask for, and
 * turns the burst loop.
 */

import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../base/assert.js'
import { BURST_CAPACITY } from '../base/limits.js'
import { ConntrackGc } from '../conntrack/ct-gc.js'
import { NatGc } from '../nat/nat-gc.js'
import { PacketBuffer } from '../packet/packet-buffer.js'
import { DatapathMaps } from '../pipeline/datapath-maps.js'
import { Pipeline } from '../pipeline/pipeline.js'
import { XskExchange } from '../port/xsk-exchange.js'
import { BurstLoop } from './burst-loop.js'
import { CaptureTask, openCaptureRing } from './capture-task.js'
import { Control, type WorkerInput, type WorkerMessage } from './control.js'
import { IdleStrategy } from './idle-strategy.js'
import { PortManager } from './port-manager.js'
import { StatisticsPublisher } from './statistics-publisher.js'
import { UplinkSteering } from './uplink-steering.js'

function send(message: WorkerMessage): void {
  parentPort?.postMessage(message)
}

function openExchange(input: WorkerInput): XskExchange {
  const { frameCount, busyPollMicroseconds: microseconds } = input
  return new XskExchange({
    frameCount,
    ...(microseconds > 0 ? { busyPoll: { microseconds } } : {}),
  })
}

/** False when it is told to stop instead. */
function waitForGo(control: Int32Array): boolean {
  send({ type: 'standby' })
  while (Atomics.load(control, Control.GO) === 0) {
    if (Atomics.load(control, Control.STOP) !== 0) return false
    Atomics.wait(control, Control.GO, 0)
  }
  return Atomics.load(control, Control.STOP) === 0
}

/** So long the devices of a datapath that just died may be busy. */
const BUSY_MILLISECONDS = 500
const BUSY_RETRY_MILLISECONDS = 5

function run(input: WorkerInput): void {
  const control = new Int32Array(input.control)
  const maps = DatapathMaps.openFiles(input.stateDirectory)
  const exchange = openExchange(input)
  if (input.isStandby && !waitForGo(control)) {
    exchange.close()
    return
  }
  const packet = new PacketBuffer(exchange.umem, exchange.stride)
  const state = maps.stateFor(input.worker)
  const pipeline = new Pipeline(state, packet, BURST_CAPACITY)
  const log = (line: string) => send({ type: 'log', line })
  const programOf = (port: number) => exchange.program(port)
  const steering = new UplinkSteering(maps, state.nat.portUse, programOf, log)
  const ports = new PortManager(maps.ports, exchange, log, steering)
  const publisher = new StatisticsPublisher(exchange, maps.portStatistics.row(input.worker))
  const conntrackGc = new ConntrackGc(maps.conntrackTable)
  const natGc = new NatGc(state.nat, maps.conntrackTable, conntrackGc)
  const fragmentsGc = new ConntrackGc(maps.fragmentsMap)
  const openRing = (worker: number) => openCaptureRing(input.stateDirectory, worker)
  const capture = new CaptureTask(maps.capture, pipeline, packet, openRing, log, input.worker)
  const heartbeat = { step: () => Atomics.add(control, Control.HEARTBEAT, 1) }
  const housekeeping = [
    heartbeat,
    ports,
    steering,
    conntrackGc,
    natGc,
    fragmentsGc,
    publisher,
    pipeline,
    capture,
  ]
  const loop = new BurstLoop(exchange, pipeline, new IdleStrategy(input.idle), housekeeping)

  // The ports first, so that "ready" means frames flow.
  loop.turn()
  const deadline = performance.now() + BUSY_MILLISECONDS
  while (performance.now() < deadline && ports.retryBusy(loop.burst.nowSeconds)) {
    Atomics.wait(control, Control.STOP, 0, BUSY_RETRY_MILLISECONDS)
  }
  steering.finish()
  Atomics.store(control, Control.WAKE_FD, exchange.wakeFd)
  send({ type: 'ready' })
  loop.runUntil(control, Control.STOP)
  pipeline.settle()
  publisher.publish()
  capture.close()
  exchange.close()
  assert(exchange.framesOnRings === 0, 'frames were left on a ring after close')
  send({ type: 'stopped', frames: loop.frames })
}

run(workerData as WorkerInput)
