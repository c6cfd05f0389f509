#!/usr/bin/env node
/** The command line. Each command lives in its own file; this one only names them. */

import { Command } from 'commander'
import { VERSION } from '../base/version.js'
import { addAgentCommand } from './agent-command.js'
import { addDatapathCommand } from './datapath-command.js'
import { addDemoCommand } from './demo-command.js'

const program = new Command('ringpath')
  .description('A userspace packet-processing engine on AF_XDP, in TypeScript')
  .version(VERSION)
  .showHelpAfterError()

addAgentCommand(program)
addDatapathCommand(program)
addDemoCommand(program)

program.parseAsync().catch((error: unknown) => {
  const isKnown = error instanceof Error && 'code' in error
  console.error(isKnown ? `ringpath: ${error.message}` : error)
  process.exitCode = 1
})
