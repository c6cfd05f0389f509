/** `ringpath demo`: what `npm start` shows. */

import { type Command, InvalidArgumentError, Option } from 'commander'
import type { DemoOptions } from '../demo/demo.js'

const SECONDS_MIN = 3
const SECONDS_MAX = 3600

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description(
      'show the datapath at work on real pods, or in simulation where that is impossible',
    )
    .option('--seconds <count>', 'how long to show it', parseSeconds, 25)
    .option('--simulate', 'simulate the pods: no root, no AF_XDP', false)
    .option('--keep', 'leave pods and datapath up afterwards, and print how to use them', false)
    .option('--clean', 'remove what earlier demonstrations left or kept, and end', false)
    .addOption(new Option('--hold <screen>', 'for --keep itself').hideHelp())
    .action(async (options: DemoOptions) => {
      const { demo } = await import('../demo/demo.js')
      process.exitCode = await demo(options)
    })
}

function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (Number.isInteger(seconds) && seconds >= SECONDS_MIN && seconds <= SECONDS_MAX) return seconds
  throw new InvalidArgumentError(`Expected a whole number from ${SECONDS_MIN} to ${SECONDS_MAX}.`)
}
