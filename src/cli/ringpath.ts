#!/usr/bin/env node
/** The command line. Each group of commands lives in its own file; this one only names them. */

import { Command } from 'commander'
import { VERSION } from '../base/version.js'
import { addAgentCommand } from './agent-command.js'
import { addBenchCommand } from './bench-command.js'
import { addCaptureCommand } from './capture-command.js'
import { addCleanupCommand } from './cleanup-command.js'
import { CommandError, ExitCode } from './client.js'
import { addDatapathCommand } from './datapath-command.js'
import { addDemoCommand } from './demo-command.js'
import { addExplainCommands } from './explain-commands.js'
import { addFlowCommands } from './flow-commands.js'
import { addPktgenCommand } from './pktgen-command.js'
import { addShowCommands } from './show-commands.js'
import { addStateCommands } from './state-commands.js'
import { addToolCommands } from './tool-commands.js'
import { addUpgradeCommand } from './upgrade-command.js'

/** commander says a usage error with 1; ours have a code of their own. */
const COMMANDER_FAILED = 1

const program = new Command('ringpath')
  .description('A userspace packet-processing engine on AF_XDP, in TypeScript')
  .version(VERSION)
  .showHelpAfterError('(add --help for what there is)')
  .exitOverride((error) => {
    process.exit(error.exitCode === COMMANDER_FAILED ? ExitCode.USAGE : error.exitCode)
  })
  .addHelpText(
    'after',
    `
Where to begin:
  ringpath status                           is the node well?
  ringpath drops                            what is dropped, and how often
  ringpath why 42                           why was packet 42 dropped?
  ringpath trace --in client --to web:80    would this packet pass? which rule says so?
  ringpath check -f manifests/              are these documents right?

Tables (endpoint, service, policy, identity, ipcache, ct, nat, map) are read from the node's files
when no agent runs. Exit codes: 0 well, 1 failed, 2 wrong usage, 3 no agent, 4 diff found
differences, 5 the traced packet is dropped.`,
  )

program.commandsGroup('The node:')
addAgentCommand(program)
addDatapathCommand(program)
addStateCommands(program)
program.commandsGroup('Packets:')
addFlowCommands(program)
addCaptureCommand(program)
addExplainCommands(program)
program.commandsGroup('Tables:')
addShowCommands(program)
program.commandsGroup('Tools:')
addToolCommands(program)
addPktgenCommand(program)
addBenchCommand(program)
addUpgradeCommand(program)
addCleanupCommand(program)
addDemoCommand(program)

for (const command of program.commands) inheritExit(command)

/** Sub-commands are made without their parent's settings. */
function inheritExit(command: Command): void {
  command.copyInheritedSettings(program)
  for (const child of command.commands) inheritExit(child)
}

// A reader that has seen enough, such as head(1), is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? ExitCode.OK : ExitCode.FAILED)
})

program.parseAsync().catch((error: unknown) => {
  const isKnown = error instanceof CommandError || (error instanceof Error && 'code' in error)
  console.error(isKnown ? `ringpath: ${error.message}` : error)
  process.exitCode = error instanceof CommandError ? error.exitCode : ExitCode.FAILED
})
