/**
 * `ringpath upgrade`: the datapath hands its running sockets to a new process of the version that is
 * installed now. Where it cannot, because the two differ in what they would have to share, the old
 * one ends and the new one attaches the devices anew, as after any end.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { HandoverNote } from '../daemon/handover-note.js'
import { CommandError, ExitCode, type NodeChoice, stateDirectoryOf } from './client.js'
import { withNode } from './options.js'
import { print } from './output.js'

const LOOK_MILLISECONDS = 20
/** An agent looks every two seconds for one that stands by, and that takes a second or two. */
const STANDBY_MILLISECONDS_MAX = 20_000
const HANDOVER_MILLISECONDS_MAX = 20_000

interface UpgradeOptions extends NodeChoice {
  readonly keepStandby: boolean
}

export function addUpgradeCommand(program: Command): void {
  const command = program
    .command('upgrade')
    .description('hand the running datapath over to a new process of the installed version')
    .option('--keep-standby', 'to the process that stands by already, whatever its version', false)
  withNode(command)
    .addHelpText(
      'after',
      `
Restart the agent with the new version first: it starts the new process. Packets wait for some
milliseconds, and none is lost. Where the versions cannot share sockets, the reason is told and the
old datapath ends: packets are dropped for a tenth of a second or two.`,
    )
    .action(upgrade)
}

async function upgrade(options: UpgradeOptions): Promise<void> {
  const [lock, note] = await Promise.all([
    import('../daemon/process-lock.js'),
    import('../daemon/handover-note.js'),
  ])
  const { holderOf, readyHolderOf, Role } = lock
  const directory = stateDirectoryOf(options)
  if (!options.keepStandby && holderOf(directory, Role.AGENT) === undefined) {
    const text = `no agent runs on ${directory}, and it is the agent that starts the new process`
    throw new CommandError(text, ExitCode.UNREACHABLE)
  }
  const before = holderOf(directory, Role.DATAPATH)
  if (before === undefined) throw new CommandError(`no datapath runs on ${directory}`)
  const standby = holderOf(directory, Role.STANDBY)
  if (!options.keepStandby && standby !== undefined) process.kill(standby, 'SIGKILL')
  const isNew = (pid: number | undefined): boolean =>
    pid !== undefined && (options.keepStandby || pid !== standby)
  const next = await until(STANDBY_MILLISECONDS_MAX, 'no datapath stands by', () => {
    const pid = readyHolderOf(directory, Role.STANDBY)
    return isNew(pid) ? pid : undefined
  })
  note.forgetHandover(directory)
  process.kill(next, 'SIGUSR2')
  const result = await until(HANDOVER_MILLISECONDS_MAX, `process ${next} does not answer`, () =>
    note.readHandover(directory),
  )
  tell(result, before, next)
  if (result.type === 'not taken over') {
    if (!result.isRefused) throw new CommandError(`not handed over: ${result.reason}`)
    process.kill(before, 'SIGTERM')
  }
  await until(HANDOVER_MILLISECONDS_MAX, `process ${before} stays`, () =>
    holderOf(directory, Role.DATAPATH) === next ? next : undefined,
  )
  print(`process ${next} is the datapath now`)
}

function tell(result: HandoverNote, before: number, next: number): void {
  if (result.type === 'taken over') {
    const milliseconds = result.silentMilliseconds.toFixed(1)
    print(
      `${result.ports} ports handed from ${before} to ${next}: ${milliseconds} ms without packets`,
    )
  } else if (result.isRefused) {
    print(`the sockets cannot be handed over: ${result.reason}; process ${before} ends instead`)
  }
}

async function until<T>(
  milliseconds: number,
  otherwise: string,
  look: () => T | undefined,
): Promise<T> {
  const deadline = performance.now() + milliseconds
  for (;;) {
    const found = look()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new CommandError(otherwise)
    await sleep(LOOK_MILLISECONDS)
  }
}
