/** Tools: metrics, log-level, version, completion. */
import { release } from 'node:os'
import { Argument, type Command } from 'commander'
import { VERSION } from '../base/version.js'
import { LOG_LEVELS } from '../daemon/log-level.js'
import type { statusOf } from '../daemon/status.js'
import { Client, CommandError, socketOf } from './client.js'
import { completionScript, SHELLS } from './completion.js'
import { type ShowOptions, withNode, withOutput } from './options.js'
import { print, printValue } from './output.js'

export function addToolCommands(program: Command): void {
  const metrics = program.command('metrics').description('the metrics, as Prometheus gets them')
  metrics.argument('[text]', 'only those with this in their names')
  withNode(metrics).action(async (text: string | undefined, options: ShowOptions) => {
    const all = await new Client(socketOf(options)).text('GET', '/v1/metrics')
    print(metricsWith(all, text))
  })
  const level = program
    .command('log-level')
    .description('show or set the level of the agent’s log, until it ends')
    .addArgument(new Argument('[level]', 'what to log from now on').choices([...LOG_LEVELS]))
  withNode(level).action(async (text: string | undefined, options: ShowOptions) => {
    const client = new Client(socketOf(options))
    const body = { type: 'application/json', bytes: JSON.stringify({ level: text }) }
    const answer = await (text === undefined
      ? client.json<{ level: string }>('GET', '/v1/log-level')
      : client.json<{ level: string }>('PUT', '/v1/log-level', body))
    print(answer.level)
  })
  const version = program
    .command('version')
    .description('versions of this command, the agent and datapath that run, Node and the kernel')
  withOutput(version).action(showVersion)
  program
    .command('completion')
    .description('a completion script for your shell')
    .addArgument(new Argument('<shell>', 'yours').choices([...SHELLS]))
    .action((shell: string) => print(completionScript(program, shell) ?? ''))
}

/** Metrics whose names have the text, with what is said about them. */
function metricsWith(all: string, text = ''): string {
  const blocks = all.trimEnd().split(/\n\n+/)
  const found = blocks.filter((block) => (/^# HELP (\S+)/.exec(block)?.[1] ?? '').includes(text))
  if (found.length === 0) throw new CommandError(`no metric has '${text}' in its name`)
  return found.join('\n\n')
}

async function showVersion(options: ShowOptions): Promise<void> {
  const running = await runningVersions(options)
  const versions = {
    ringpath: VERSION,
    ...running,
    node: process.version,
    kernel: `${release()} ${process.arch}`,
  }
  printValue(versions, options.output, () =>
    Object.entries(versions)
      .map(([name, value]) => `${name.padEnd(9)} ${value}`)
      .join('\n'),
  )
}

/** An agent that does not run, or may not be asked, is no matter here. */
async function runningVersions(options: ShowOptions): Promise<Record<string, string>> {
  try {
    const client = new Client(socketOf(options))
    const status = await client.json<ReturnType<typeof statusOf>>('GET', '/v1/status')
    return { agent: status.version, datapath: status.datapath.version ?? 'not running' }
  } catch {
    return { agent: 'no answer' }
  }
}
