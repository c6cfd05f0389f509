/**
 * Speaks to an agent over its unix socket. Errors come back as problem+json and are told in its
 * words.
 */
import { readdirSync, statSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { dirname, join } from 'node:path'

/** What a command ends with; docs/cli.md lists them. */
export const ExitCode = {
  OK: 0,
  FAILED: 1,
  USAGE: 2,
  UNREACHABLE: 3,
  DIFFERENT: 4,
  DROPPED: 5,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** Ends a command: its message for people, its code for programs. */
export class CommandError extends Error {
  readonly exitCode: ExitCode

  constructor(message: string, exitCode: ExitCode = ExitCode.FAILED) {
    super(message)
    this.exitCode = exitCode
  }
}

export interface Body {
  readonly type: string
  readonly bytes: string | Uint8Array
}

const STATE_ROOT = '/run/ringpath'
const SOCKET_NAME = 'api.sock'

export class Client {
  readonly socket: string

  constructor(socket: string) {
    this.socket = socket
  }

  async json<T>(method: string, path: string, body?: Body): Promise<T> {
    return JSON.parse(await this.text(method, path, body)) as T
  }

  async text(method: string, path: string, body?: Body): Promise<string> {
    let text = ''
    for await (const chunk of await this.#send(method, path, body)) text += String(chunk)
    return text
  }

  /** Lines as they come, until the agent or the reader ends. */
  async *lines(path: string, body?: Body): AsyncGenerator<string> {
    let rest = ''
    const response = await this.#send(body === undefined ? 'GET' : 'POST', path, body)
    response.setEncoding('utf8')
    for await (const chunk of response) {
      const lines = (rest + String(chunk)).split('\n')
      rest = lines.pop() ?? ''
      yield* lines.filter((line) => line !== '')
    }
  }

  /** Bytes as they come, until the agent or the reader ends. */
  async *bytes(path: string, body: Body): AsyncGenerator<Uint8Array> {
    for await (const chunk of await this.#send('POST', path, body)) yield chunk as Uint8Array
  }

  async #send(method: string, path: string, body?: Body): Promise<IncomingMessage> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': body.type }
      const options = { socketPath: this.socket, method, path, headers }
      const sent = request(options, resolve)
      sent.on('error', (error) => reject(this.#unreachable(error)))
      sent.end(body?.bytes)
    })
    if ((response.statusCode ?? 500) < 400) return response
    let text = ''
    for await (const chunk of response) text += String(chunk)
    throw problemError(text)
  }

  #unreachable(error: NodeJS.ErrnoException): CommandError {
    const why = error.code === 'EACCES' ? NOT_PERMITTED : `no agent answers (${reasonOf(error)})`
    return new CommandError(`${this.socket}: ${why}`, ExitCode.UNREACHABLE)
  }
}

const START_ONE = 'start one by `ringpath agent --config FILE`'
const NOT_PERMITTED = 'not permitted: be root, or in the group of spec.api.group of the Node'

function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return `no such socket: ${START_ONE}`
  if (code === 'ECONNREFUSED') return 'the one that made it has ended'
  return code ?? message
}

function problemError(text: string): CommandError {
  try {
    const { detail } = JSON.parse(text) as { detail: string }
    return new CommandError(detail)
  } catch {
    return new CommandError(text)
  }
}

/** What says which node a command is for; the only one of this machine when none of it is given. */
export interface NodeChoice {
  readonly socket?: string
  readonly state?: string
}

/** @throws CommandError where neither an option nor the machine says which one */
export function stateDirectoryOf({ state, socket }: NodeChoice): string {
  if (state !== undefined) return state
  const own = socket ?? process.env.RINGPATH_SOCKET
  if (own !== undefined) return dirname(own)
  const nodes = directoriesIn(STATE_ROOT)
  const [only, ...more] = nodes
  if (only !== undefined && more.length === 0) return join(STATE_ROOT, only)
  const text =
    only === undefined
      ? `no node runs here (${STATE_ROOT} is empty): ${START_ONE}, ` +
        'or give --state DIRECTORY or --socket PATH'
      : `which node? ${STATE_ROOT} has ${nodes.join(', ')}: give --state DIRECTORY or --socket PATH`
  throw new CommandError(text, ExitCode.UNREACHABLE)
}

export function socketOf(choice: NodeChoice): string {
  const { socket, state } = choice
  const own = socket ?? (state === undefined ? process.env.RINGPATH_SOCKET : undefined)
  return own ?? join(stateDirectoryOf(choice), SOCKET_NAME)
}

function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path).filter((name) => statSync(join(path, name)).isDirectory())
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') return []
    throw new CommandError(`${path}: ${NOT_PERMITTED}`, ExitCode.UNREACHABLE)
  }
}
