/**
 * Where a command's answers come from: the agent, or the files of the state directory when no agent
 * runs. Both answer alike.
 */
import { ErrorCode } from '../base/errors.js'
import type { NodeView } from '../observe/node-view.js'
import {
  Client,
  CommandError,
  ExitCode,
  type NodeChoice,
  socketOf,
  stateDirectoryOf,
} from './client.js'

export interface Source {
  /** The same paths as the API's. @param query of pages and filters */
  get<T>(path: string, query?: Readonly<Record<string, string>>): Promise<T>
  readonly client?: Client
}

export async function openSource(choice: NodeChoice): Promise<Source> {
  try {
    const client = new Client(socketOf(choice))
    await client.text('GET', '/v1/config')
    const get = <T>(path: string, query: Readonly<Record<string, string>> = {}): Promise<T> =>
      client.json('GET', withQuery(path, query))
    return { client, get }
  } catch (error) {
    const isAway = error instanceof CommandError && error.exitCode === ExitCode.UNREACHABLE
    if (!isAway || choice.socket !== undefined) throw error
    return openFiles(choice, error)
  }
}

export const withQuery = (path: string, query: Readonly<Record<string, string>>): string => {
  const text = new URLSearchParams(query).toString()
  return text === '' ? path : `${path}?${text}`
}

async function openFiles(choice: NodeChoice, unreachable: CommandError): Promise<Source> {
  const directory = stateDirectoryOf(choice)
  const [{ NodeView }, { holderOf, Role }] = await Promise.all([
    import('../observe/node-view.js'),
    import('../daemon/process-lock.js'),
  ])
  let view: NodeView
  try {
    view = NodeView.open(directory, () => holderOf(directory, Role.DATAPATH) ?? 0)
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    // Another version's: see Upgrade in docs/operations.md.
    const isOld = code === ErrorCode.MAP_FORMAT
    const advice = isOld ? '; another version made it: use that one, or remove the directory' : ''
    const text = `${unreachable.message}; and no maps to read: ${message}${advice}`
    throw new CommandError(text, ExitCode.UNREACHABLE)
  }
  return {
    get: async <T>(path: string, query: Readonly<Record<string, string>> = {}): Promise<T> =>
      (await answer(view, path, query)) as T,
  }
}

function answer(view: NodeView, path: string, query: Readonly<Record<string, string>>): unknown {
  const page = { cursor: Number(query.cursor ?? 0), limit: Number(query.limit ?? 1_000) }
  const endpoint = query.endpoint === undefined ? undefined : Number(query.endpoint)
  const [, , , last] = path.split('/')
  const name = last === undefined ? undefined : decodeURIComponent(last)
  switch (path.split('/')[2]) {
    case 'endpoints':
      return view.endpoints()
    case 'services':
      return view.services()
    case 'policies':
      return view.policy(page, endpoint)
    case 'identities':
      return view.identities()
    case 'ipcache':
      return view.ipcache()
    case 'conntrack':
      return view.connections(page)
    case 'nat':
      return view.nat(page)
    case 'top':
      return import('../observe/top-view.js').then(({ topView }) => topView(view, page.limit))
    case 'counters':
      return view.counters()
    case 'maps':
      return name === undefined ? view.mapList() : view.map(name, page)
    default:
      throw new CommandError('no agent runs, and this needs one', ExitCode.UNREACHABLE)
  }
}

/** Every row of a table that comes in pages. */
export async function allRows<T>(
  source: Source,
  path: string,
  query: Readonly<Record<string, string>> = {},
  limit = Number.POSITIVE_INFINITY,
): Promise<T[]> {
  const rows: T[] = []
  let cursor = 0
  while (rows.length < limit) {
    const page = await source.get<{ rows: T[]; next?: number }>(path, {
      ...query,
      cursor: `${cursor}`,
      limit: `${Math.min(10_000, limit - rows.length)}`,
    })
    rows.push(...page.rows)
    if (page.next === undefined) break
    cursor = page.next
  }
  return rows
}
