/** Trains the code of this process as a worker does, and says what V8 gave up meanwhile. */
import { setFlagsFromString } from 'node:v8'
import { trainWorker } from '../../../src/engine/training/training.js'
import { WorkerMemory } from '../../../src/engine/worker-memory.js'

setFlagsFromString('--trace-protector-invalidation')
const memory = new WorkerMemory({ frameCount: 1024 }, 4096)
trainWorker(console.log, memory)
const audit = memory.exchange.audit()
console.log(JSON.stringify({ ...audit, count: memory.burst.count }))
// At its end a process detaches buffers.
process.kill(process.pid, 'SIGKILL')
