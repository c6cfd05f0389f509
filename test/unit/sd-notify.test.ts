/** What systemd is told, received as it would. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { SystemdNotifier } from '../../src/daemon/sd-notify.js'

/** So often the watchdog asks before the test believes that it keeps silent. */
const PERIODS = 5

/** Prints each datagram that the socket gets, with a mark after it. */
const RECEIVER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind(chr(0) + name[1:] if name[0] == '@' else name)
print('bound', flush=True)
while True: print(s.recv(4096).decode() + '|', flush=True)
`

async function receiver(t: Tap, path: string) {
  const child = spawn('python3', ['-c', RECEIVER, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  t.teardown(async () => {
    child.kill()
    await once(child, 'exit')
  })
  const until = async (pattern: RegExp) => {
    const deadline = performance.now() + 10_000
    while (!pattern.test(text) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    t.match(text, pattern)
  }
  await until(/bound/)
  return { until, received: () => text }
}
type Tap = typeof t

t.test('readiness, the watchdog and the end are told', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-notify-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'notify')
  const { until, received } = await receiver(t as Tap, path)
  const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '20000', WATCHDOG_PID: `${process.pid}` }
  const notifier = new SystemdNotifier(env)
  notifier.ready('all is well')
  await until(new RegExp(`READY=1\nSTATUS=all is well\nMAINPID=${process.pid}\\|`))
  let isWell = false
  await new Promise<void>((resolve) => {
    let asked = 0
    notifier.startWatchdog(() => {
      if (++asked === PERIODS) resolve()
      return isWell
    }, env)
  })
  // Datagrams keep their order: what was told before this one has come when it has.
  notifier.status('not well')
  await until(/STATUS=not well\|/)
  t.notMatch(received(), /WATCHDOG/, 'nothing while it is not well')
  isWell = true
  await until(/WATCHDOG=1\|/)
  notifier.stopping()
  await until(/STOPPING=1\|/)
})

t.test('an abstract socket will do; no socket, or nobody at it, is no failure', async (t) => {
  const name = `@rp-notify-${process.pid}`
  const { until } = await receiver(t as Tap, name)
  new SystemdNotifier({ NOTIFY_SOCKET: name }).status('one\ntwo')
  await until(/STATUS=one two\|/)
  t.doesNotThrow(() => new SystemdNotifier({}).ready('x'))
  t.doesNotThrow(() => new SystemdNotifier({ NOTIFY_SOCKET: '/nowhere/at/all' }).ready('x'))
  t.doesNotThrow(() => new SystemdNotifier({ NOTIFY_SOCKET: 'vsock:1' }).ready('x'))
})

t.end()
