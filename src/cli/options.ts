/** Options that many commands share. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { NodeChoice } from './client.js'
import { FORMATS, type Format } from './output.js'

export interface ShowOptions extends NodeChoice {
  readonly output: Format
}

export function withNode(command: Command): Command {
  return command
    .option('--socket <path>', 'the agent’s socket (or RINGPATH_SOCKET)')
    .option('--state <directory>', 'the node’s state directory, usually /run/ringpath/<node>')
}

export function withOutput(command: Command): Command {
  return withNode(command).addOption(
    new Option('-o, --output <format>', 'table, wide, json or yaml')
      .choices([...FORMATS])
      .default('table'),
  )
}

export const wholeNumber =
  (low: number, high: number) =>
  (text: string): number => {
    const value = Number(text)
    if (Number.isInteger(value) && value >= low && value <= high) return value
    throw new InvalidArgumentError(`Expected a whole number from ${low} to ${high}.`)
  }
