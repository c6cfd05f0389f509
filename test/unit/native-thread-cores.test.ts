/** The cores of a thread, of the native package. */
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { setThreadCores, threadCores, XdpErrorCode } from 'xdp-socket-napi'
import { checkCores } from '../../src/engine/worker-cores.js'

const all = threadCores()
const last = all.at(-1) as number

/** Above the kernel's largest number of a thread. */
const NO_THREAD = 2 ** 22

t.test('a thread that is put on a core stays there, and its process does not', async (t) => {
  const script = `
    import { parentPort } from 'node:worker_threads'
    import { setThreadCores, threadCores } from ${JSON.stringify(import.meta.resolve('xdp-socket-napi'))}
    setThreadCores([${last}])
    parentPort.postMessage(threadCores())`
  const url = new URL(`data:text/javascript,${encodeURIComponent(script)}`)
  const worker = new Worker(url)
  t.same(await new Promise((resolve) => worker.once('message', resolve)), [last])
  t.same(threadCores(), all)
  await worker.terminate()
})

t.test('cores and threads that are none are refused by name', async (t) => {
  const refused = { code: XdpErrorCode.ARGUMENT }
  t.throws(() => setThreadCores([]), { ...refused, message: /^cores: none/ })
  for (const core of [-1, 1.5, 1024]) {
    t.throws(() => setThreadCores([core]), { ...refused, message: /^cores is/ })
  }
  t.throws(() => threadCores(-1), { ...refused, message: /^thread is/ })
  t.throws(() => setThreadCores([1023]), { ...refused, message: /none of the cores/ })
  t.throws(() => threadCores(NO_THREAD), { code: XdpErrorCode.SYSTEM, message: /no such thread/ })
  t.same(threadCores(), all, 'nothing has changed')
})

t.test('a core for each worker: others are refused with what was expected', async (t) => {
  checkCores([last], 1)
  t.throws(() => checkCores([last], 2), {
    message: `cores: ${last}, expected 2: one for each worker`,
  })
  t.throws(() => checkCores([last, last], 2), { message: /expected each core once/ })
  t.throws(() => checkCores([1000], 1), {
    message: /^cores: 1000, expected .* not 1000$/,
  })
})
