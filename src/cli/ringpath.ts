#!/usr/bin/env node
/** The command line. Each command lives in its own file; this one only names them. */

import { Command } from 'commander'
import { addDatapathCommand } from './datapath-command.js'
import { addDemoCommand } from './demo-command.js'

const program = new Command('ringpath')
  .description('A userspace packet-processing engine on AF_XDP, in TypeScript')
  .version('0.1.0')
  .showHelpAfterError()

addDatapathCommand(program)
addDemoCommand(program)

program.parseAsync().catch((error: unknown) => {
  const isKnown = error instanceof Error && 'code' in error
  console.error(isKnown ? `ringpath: ${error.message}` : error)
  process.exitCode = 1
})
