/** `ringpath agent`: runs the agent of a node in the foreground. */
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { NodeDocument } from '../k8s/ringpath-documents.js'
import { readTextFile } from '../k8s/text-file.js'

interface AgentArguments {
  readonly config: string
  readonly stopDatapath: boolean
}

export function addAgentCommand(program: Command): void {
  program
    .command('agent')
    .description('run the agent of a node: documents in, a running datapath out')
    .requiredOption('-c, --config <file>', 'the node’s document (kind Node)')
    .option('--stop-datapath', 'stop the datapath too when the agent is told to stop', false)
    .addHelpText(
      'after',
      `
The datapath is a process of its own: it is started when none runs, adopted when one does, and
goes on when the agent ends. Documents are read from the node's manifest directory and come by
"ringpath apply". Logs are JSON, one object a line.

Example:
  ringpath agent --config /etc/ringpath/node.yaml`,
    )
    .action(runAgent)
}

async function runAgent(options: AgentArguments): Promise<void> {
  const config = resolve(options.config)
  const node = await readNode(options.config)
  // Loaded here: the other commands need none of it, and start the faster.
  const [{ Agent }, { ApiServer }, { makeLog }, { SystemdNotifier }] = await Promise.all([
    import('../daemon/agent.js'),
    import('../daemon/api/server.js'),
    import('../daemon/log.js'),
    import('../daemon/sd-notify.js'),
  ])
  const log = makeLog(node.spec.log.level, { node: node.metadata.name })
  const agent = new Agent(node, log, dirname(config), config)
  const api = new ApiServer(agent)
  const notifier = new SystemdNotifier()
  const stop = async (signal: string): Promise<void> => {
    notifier.stopping()
    const stopsDatapath = options.stopDatapath || node.spec.datapath.stopWithAgent
    log.info({ signal, stopsDatapath }, 'agent stopping')
    await agent.stop(stopsDatapath)
    await api.close()
    process.exit(0)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop(signal))
  await api.listen(agent.paths.apiSocket, node.spec.api.group)
  await agent.start()
  log.info({ pid: process.pid, socket: agent.paths.apiSocket }, 'agent ready')
  notifier.ready('frames flow')
  notifier.startWatchdog(() => true)
}

function readNodeFile(path: string): string {
  try {
    return readTextFile(path)
  } catch (error) {
    throw new RingpathError(ErrorCode.CONFIG_INVALID, `${path}: ${(error as Error).message}`, error)
  }
}

async function readNode(path: string): Promise<NodeDocument> {
  const { ofKind, parseDocuments } = await import('../k8s/documents.js')
  const [node, ...more] = ofKind(parseDocuments(readNodeFile(path), path), 'Node')
  if (node !== undefined && more.length === 0) return node.body
  const count = more.length + (node === undefined ? 0 : 1)
  const text = `${path}: ${count} documents of kind Node, expected one`
  throw new RingpathError(ErrorCode.CONFIG_INVALID, text)
}
