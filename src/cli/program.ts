/** The commands and their help. Each group of commands lives in its own file; this one only names them. */
import { Command } from 'commander'
import { VERSION } from '../base/version.js'
import { addAgentCommand } from './agent-command.js'
import { addBenchCommand } from './bench-command.js'
import { addBugReportCommand } from './bugreport-command.js'
import { addCaptureCommand } from './capture-command.js'
import { addCleanupCommand } from './cleanup-command.js'
import { ExitCode } from './client.js'
import { addDatapathCommand } from './datapath-command.js'
import { addDemoCommand } from './demo-command.js'
import { addExplainCommands } from './explain-commands.js'
import { addFlowCommands } from './flow-commands.js'
import { teach } from './lessons.js'
import { addPktgenCommand } from './pktgen-command.js'
import { addShowCommands } from './show-commands.js'
import { addStateCommands } from './state-commands.js'
import { addToolCommands } from './tool-commands.js'
import { addTopCommand } from './top-command.js'
import { addUpgradeCommand } from './upgrade-command.js'

/** commander says a usage error with 1; ours have a code of their own. */
const COMMANDER_FAILED = 1

/** The program with every command. Usage errors end the process, unless a test has them thrown. */
export function makeProgram(): Command {
  const program = new Command('ringpath')
    .description('A userspace packet-processing engine on AF_XDP, in TypeScript')
    .version(VERSION)
    // Options behind a verb are the verb's: `map dump ct4 --state …`.
    .enablePositionalOptions()
    .showHelpAfterError('(add --help for what there is)')
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'ringpath: ')),
    })
    .exitOverride((error) => {
      process.exit(error.exitCode === COMMANDER_FAILED ? ExitCode.USAGE : error.exitCode)
    })
    .addHelpText(
      'after',
      `
Where to begin:
  ringpath status                           is the node well?
  ringpath drops --live                     what is dropped, how often, and the last of it
  ringpath why 42                           why was packet 42 dropped?
  ringpath trace --in client --to web:80    would this packet pass? which rule says so?
  ringpath check -f manifests/              are these documents right?

Tables, trace and replay read the node's files when no agent runs. Each command's --help has
examples and its exit codes: 0 well, 1 failed, 2 wrong usage, 3 no agent, 4 diff found differences,
5 the traced packet is dropped.`,
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
  addTopCommand(program)
  addToolCommands(program)
  addBugReportCommand(program)
  addPktgenCommand(program)
  addBenchCommand(program)
  addUpgradeCommand(program)
  addCleanupCommand(program)
  addDemoCommand(program)

  teach(program)
  for (const command of program.commands) inheritExit(command, program)
  return program
}

/** Sub-commands are made without their parent's settings. */
function inheritExit(command: Command, program: Command): void {
  command.copyInheritedSettings(program)
  for (const child of command.commands) inheritExit(child, program)
}
