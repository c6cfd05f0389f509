/**
 * `transmit FRAME-BYTES MILLISECONDS DEVICE…`: a worker thread for each device, all at once, in this
 * network namespace; prints their frames per second together.
 */
import { writeFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import type { TransmitJob } from './transmit-worker.js'

try {
  // On a shared machine the others wait meanwhile: the scheduler weighs sessions (sched(7), autogroup).
  writeFileSync('/proc/self/autogroup', '-20')
} catch {
  // Without autogroups nothing changes.
}
const [, , frameBytes, milliseconds, ...devices] = process.argv
const meeting = new SharedArrayBuffer(4)

function run(device: string, core: number): Promise<number> {
  const workerData: TransmitJob = {
    device,
    core,
    frameBytes: Number(frameBytes),
    milliseconds: Number(milliseconds),
    meeting,
    workers: devices.length,
  }
  const worker = new Worker(new URL('./transmit-worker.js', import.meta.url), { workerData })
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

const rates = await Promise.all(devices.map(run))
console.log(JSON.stringify({ framesPerSecond: rates.reduce((sum, rate) => sum + rate, 0) }))
