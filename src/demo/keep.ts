/**
 * `--keep` and `--clean`. A world lives as long as the process that made it, so with `--keep` the
 * show runs in a process of its own session from the beginning: it sends what it shows to the one
 * that the user started, and stays when that one ends. `--clean` finds it by the record of its lab
 * and ends it.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { processOfRun, sweepDeadRuns } from '../lab/run-record.js'
import type { DemoOptions, Shown } from './demo.js'
import { Screen, type ScreenSize, standardScreenSize } from './screen.js'
import { messageOf } from './show.js'
import { listStateDirectories, sweepStateDirectories } from './state-directory.js'
import type { World } from './world.js'

const HOLD_OPTION = '--hold'
const REMOVE_TIMEOUT_MILLISECONDS = 15_000
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** From the process that shows to the one that the user started; the order is kept. */
type Message =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'shown'; readonly code: number }

/** The user's process: passes on what is shown and ends with the show. Returns the exit code. */
export async function keep(options: DemoOptions): Promise<number> {
  const script = process.argv[1] ?? ''
  const args = [
    'demo',
    '--seconds',
    `${options.seconds}`,
    ...(options.simulate ? ['--simulate'] : []),
  ]
  const screen = JSON.stringify(standardScreenSize())
  const all = [...process.execArgv, script, ...args, HOLD_OPTION, screen]
  const holder = spawn(process.execPath, all, {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  for (const signal of SIGNALS) process.on(signal, () => holder.kill('SIGINT'))
  process.stdout.on('error', () => holder.kill('SIGINT'))
  return new Promise((resolve) => {
    holder.on('message', (message: Message) => {
      if (message.type === 'text') process.stdout.write(message.text)
      else {
        holder.unref()
        holder.disconnect()
        resolve(message.code)
      }
    })
    holder.on('exit', (code) => resolve(code || 1))
    holder.on('error', (error) => {
      console.error(`ringpath: cannot start the demonstration: ${error.message}`)
      resolve(1)
    })
  })
}

/** The process that stays. Returns when the world is gone again. */
export async function hold(
  options: DemoOptions,
  run: (screen: Screen, interrupt: AbortSignal) => Promise<Shown>,
): Promise<number> {
  const interrupt = new AbortController()
  for (const signal of SIGNALS) process.on(signal, () => interrupt.abort())
  // The user's process died: nobody would know that there is something to remove.
  process.on('disconnect', () => interrupt.abort())
  const send = (message: Message): Promise<unknown> =>
    new Promise((resolve) => process.send?.(message, resolve))
  const screen = new Screen(JSON.parse(options.hold ?? '') as ScreenSize, (text) => {
    send({ type: 'text', text })
  })
  let shown: Shown
  try {
    shown = await run(screen, interrupt.signal)
  } catch (error) {
    screen.print([`ringpath: ${messageOf(error)}`])
    shown = { code: 1, kept: undefined }
  }
  const { code, kept } = shown
  if (kept !== undefined) screen.print(keptLines(kept))
  process.removeAllListeners('disconnect')
  await send({ type: 'shown', code })
  if (kept === undefined) return code
  await untilAborted(interrupt.signal)
  await kept.stop()
  return 0
}

function keptLines(world: World): string[] {
  return [
    '',
    `Pods and datapath stay up (${world.facts}). To play with them:`,
    ...world.commands.map((command) => `  ${command}`),
    'To remove them:',
    '  npm start -- --clean',
  ]
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  // A timer, because a signal handler alone does not keep a process alive.
  const timer = setInterval(() => undefined, 2 ** 30)
  await once(signal, 'abort')
  clearInterval(timer)
}

/** Removes kept worlds and what dead demonstrations left; those that are being shown stay. */
export async function clean(write: (text: string) => void): Promise<number> {
  const removed: string[] = []
  const stubborn: string[] = []
  for (const id of listStateDirectories()) {
    const pid = processOfRun(id)
    if (pid === undefined || !isHolder(pid)) continue
    process.kill(pid, 'SIGTERM')
    const isGone = await untilGone(id)
    ;(isGone ? removed : stubborn).push(id)
  }
  removed.push(...sweepDeadRuns())
  sweepStateDirectories()
  if (removed.length === 0 && stubborn.length === 0) write('There is nothing to remove.\n')
  for (const id of removed)
    write(`Removed: namespaces rp-${id}-*, datapath and programs in them.\n`)
  for (const id of stubborn) write(`Still there: process ${processOfRun(id)} does not end.\n`)
  return stubborn.length === 0 ? 0 : 1
}

const isHolder = (pid: number): boolean =>
  fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(HOLD_OPTION)

async function untilGone(id: string): Promise<boolean> {
  const deadline = performance.now() + REMOVE_TIMEOUT_MILLISECONDS
  while (processOfRun(id) !== undefined) {
    if (performance.now() > deadline) return false
    await sleep(50)
  }
  return true
}
