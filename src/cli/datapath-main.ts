/** `ringpath datapath` as a program of its own: what an agent starts, with nothing to load beside it. */
import '../base/sure-exit.js'
import { Command } from 'commander'
import { addDatapathCommand } from './datapath-command.js'

const program = new Command('ringpath')
addDatapathCommand(program)
await program.parseAsync(['datapath', ...process.argv.slice(2)], { from: 'user' })
