/** `ringpath cleanup`: ends everything that runs on a state directory, and removes it if so told. */
import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Role as RoleType } from '../daemon/process-lock.js'
import { CommandError, type NodeChoice, stateDirectoryOf } from './client.js'
import { withNode } from './options.js'
import { print } from './output.js'

const END_MILLISECONDS_MAX = 10_000
const LOOK_MILLISECONDS = 20

interface CleanupOptions extends NodeChoice {
  readonly remove: boolean
}

export function addCleanupCommand(program: Command): void {
  const command = program
    .command('cleanup')
    .description('end the agent and the datapaths of a node, whoever started them')
    .option('--remove', 'remove its state directory too: connections are forgotten', false)
  withNode(command)
    .addHelpText(
      'after',
      `
Its pods are closed afterwards: nothing forwards for them. What the agent set up on the node is
put back: routes, sysctls, and the host pair if the agent made it. Documents stay, those that came
by "ringpath apply" in the node's data directory: /var/lib/ringpath/NAME unless it says otherwise.
Run it in the agent's network namespace: from another one it refuses, and ends nothing.`,
    )
    .action(cleanup)
}

async function cleanup(options: CleanupOptions): Promise<void> {
  const { holderOf, isStateDirectory, Role } = await import('../daemon/process-lock.js')
  const directory = stateDirectoryOf(options)
  // Never to remove a directory of somebody else's.
  if (!isStateDirectory(directory)) {
    throw new CommandError(`${directory}: no state directory of a node`)
  }
  const [setup, { makeLog }, { wayInto }] = await Promise.all([
    import('../daemon/setup/node-setup.js'),
    import('../daemon/log.js'),
    import('./network-namespace.js'),
  ])
  const elsewhere = setup.setUpElsewhere(directory)
  if (elsewhere !== undefined) {
    // Before anything is ended: the record is the only one of what is to be put back.
    const way = wayInto(elsewhere)
    if (way !== undefined) {
      const text = `${directory}: the node was set up in another network namespace, ${elsewhere}`
      throw new CommandError(`${text}: clean up there, by \`${way} ringpath cleanup …\``)
    }
    print(`set-up: gone with its network namespace, ${elsewhere}`)
  }
  // The agent would start what is ended; the datapath that stands by would take over.
  const order: readonly (readonly [RoleType, NodeJS.Signals, string])[] = [
    [Role.AGENT, 'SIGTERM', 'agent'],
    [Role.STANDBY, 'SIGKILL', 'datapath that stood by'],
    [Role.DATAPATH, 'SIGTERM', 'datapath'],
  ]
  for (const [role, signal, name] of order) {
    const pid = holderOf(directory, role)
    if (pid === undefined) continue
    process.kill(pid, signal)
    const deadline = performance.now() + END_MILLISECONDS_MAX
    while (holderOf(directory, role) === pid) {
      if (performance.now() > deadline) throw new CommandError(`process ${pid}, the ${name}, stays`)
      await sleep(LOOK_MILLISECONDS)
    }
    print(`${name} ended (process ${pid})`)
  }
  if (elsewhere === undefined) {
    for (const line of setup.putNodeBack(directory, makeLog('error'))) print(line)
  }
  await cleanPins(directory)
  if (!options.remove) return
  rmSync(directory, { recursive: true, force: true })
  print(`${directory} removed`)
}

/** Programs that were pinned leave their devices with the pins. */
async function cleanPins(directory: string): Promise<void> {
  const { forgetPins, notedPins } = await import('../daemon/pins-note.js')
  const pins = notedPins(directory)
  if (pins === undefined) return
  const { removePins } = await import('xdp-socket-napi')
  removePins(pins)
  forgetPins(directory)
  print(`programs pinned in ${pins} removed`)
}
