/** What is asked of the kernel, and what is said where it cannot be asked; by the device itself: test/integration. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ErrorCode } from '../../src/base/errors.js'
import { WakeLatency } from '../../src/engine/wake-latency.js'

const directory = mkdtempSync(join(tmpdir(), 'rp-wake-'))
t.after(() => rmSync(directory, { recursive: true }))

t.test('a request is four bytes in the machine’s order', (t) => {
  const device = join(directory, 'device')
  writeFileSync(device, '')
  new WakeLatency(258, device).close()
  const [request] = new Int32Array(new Uint8Array(readFileSync(device)).buffer)
  t.equal(request, 258)
  t.end()
})

t.test('without such a device: an error that names the field, the value and the device', (t) => {
  t.throws(() => new WakeLatency(0, join(directory, 'none')), {
    code: ErrorCode.CONFIG_INVALID,
    message: /wakeLatencyMicroseconds: 0, expected none .*ENOENT.*none/,
  })
  t.end()
})

t.end()
