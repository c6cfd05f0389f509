/**
 * A TypeScript forwarder as a process, started by the harness inside the node's namespace with a
 * ForwarderInput as its argument: prints "ready", takes the lines "begin" before what is measured,
 * which it answers with "begun", and "frames" for a reading, and ends with "stop", printing a
 * ForwarderReport.
 *
 * The frames are moved by a worker thread, as in the engine; this thread only reads its input.
 */
import '../../src/base/sure-exit.js'

import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { bundled } from '../../src/base/bundle.js'
import { tuneV8 } from '../../src/engine/v8-flags.js'
import { leaveCores } from '../../src/engine/worker-cores.js'
import {
  ForwarderControl,
  type ForwarderInput,
  type ForwarderReport,
  Measuring,
  type WorkerInput,
} from './forwarder-messages.js'

const CONTROL_WORDS = 8
/** For the worker's answer, which comes with its housekeeping. */
const LOOK_MILLISECONDS = 2

const input = JSON.parse(process.argv[2] ?? '') as ForwarderInput
const control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4))
const workerData: WorkerInput = { ...input, control: control.buffer as SharedArrayBuffer }
tuneV8()
leaveCores([input.core])
const worker = new Worker(bundled(new URL('./forward-worker.js', import.meta.url)), { workerData })

worker.on('message', (message: 'ready' | ForwarderReport) => {
  console.log(message === 'ready' ? message : JSON.stringify(message))
})
worker.on('exit', (code) => process.exit(code))

let reading = 0
let frames = 0

/** The worker tells with its housekeeping, tens of milliseconds apart: its next word, and the time of that. */
async function tellFrames(): Promise<void> {
  const seen = Atomics.load(control, ForwarderControl.TOLD)
  while (Atomics.load(control, ForwarderControl.TOLD) === seen) {
    await setTimeout(LOOK_MILLISECONDS)
  }
  frames += (Atomics.load(control, ForwarderControl.FRAMES) - frames) >>> 0
  const seconds = Atomics.load(control, ForwarderControl.SECONDS)
  const nanoseconds = seconds * 1e9 + Atomics.load(control, ForwarderControl.NANOSECONDS)
  reading++
  console.log(JSON.stringify({ reading, nanoseconds, frames, bytes: 0 }))
}

async function begin(): Promise<void> {
  const { NOT_YET, WANTED } = Measuring
  Atomics.compareExchange(control, ForwarderControl.MEASURING, NOT_YET, WANTED)
  while (Atomics.load(control, ForwarderControl.MEASURING) === WANTED) {
    await setTimeout(LOOK_MILLISECONDS)
  }
  console.log('begun')
}

createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'begin') void begin()
  else if (line === 'stop') Atomics.store(control, ForwarderControl.STOP, 1)
  else if (line === 'frames') void tellFrames()
})
