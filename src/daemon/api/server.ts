/**
 * The API over a unix socket, for its owner and one group. Requests are bounded in size, number and
 * time, and checked against the route's schemas before anything is done.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import type * as z from 'zod'
import type { Agent } from '../agent.js'
import { issueText } from './issue-text.js'
import { HttpError, PROBLEM_TYPE, problemOf } from './problem.js'
import { CAPTURE_TYPE, isStream, MANIFEST_TYPES, type Route } from './route.js'
import { ROUTES } from './routes.js'
import { grantSocket } from './socket-access.js'

const BODY_BYTES_MAX = 1024 * 1024
const CAPTURE_BYTES_MAX = 16 * 1024 * 1024
const CONNECTIONS_MAX = 64
const REQUEST_MILLISECONDS_MAX = 10_000

export class ApiServer {
  readonly #server: FastifyInstance
  readonly #agent: Agent

  constructor(agent: Agent) {
    this.#agent = agent
    this.#server = fastify({
      logger: false,
      bodyLimit: BODY_BYTES_MAX,
      requestTimeout: REQUEST_MILLISECONDS_MAX,
      routerOptions: { maxParamLength: 253 },
      return503OnClosing: true,
      forceCloseConnections: true,
    })
    this.#server.server.maxConnections = CONNECTIONS_MAX
    this.#addParsers()
    this.#server.setErrorHandler((error, _request, reply) => sendProblem(agent, reply, error))
    this.#server.setNotFoundHandler((request, reply) => {
      sendProblem(agent, reply, new HttpError(404, `no ${request.method} ${request.url}`))
    })
    for (const route of ROUTES) this.#add(route)
  }

  /** Paths as they are served, for the test that compares them with the description. */
  get served(): string[] {
    return ROUTES.filter(({ method, path }) =>
      this.#server.hasRoute({ method, url: urlOf(path) }),
    ).map(({ method, path }) => `${method} ${path}`)
  }

  /** For tests: an answer without a socket. */
  get inject(): FastifyInstance['inject'] {
    return this.#server.inject.bind(this.#server) as FastifyInstance['inject']
  }

  /** @param group whose members may use the socket; the agent's own when absent */
  async listen(path: string, group?: string): Promise<void> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    rmSync(path, { force: true })
    // Nobody may connect before owner and mode are right.
    const mask = process.umask(0o177)
    try {
      await this.#server.listen({ path })
    } finally {
      process.umask(mask)
    }
    try {
      grantSocket({ socket: path, stateDirectory: this.#agent.paths.stateDirectory, group })
    } catch (error) {
      // A socket that listens would keep the process alive that is to end with this error.
      await this.#server.close()
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#server.close()
  }

  #addParsers(): void {
    this.#server.removeAllContentTypeParsers()
    this.#server.addContentTypeParser(
      [...MANIFEST_TYPES],
      { parseAs: 'string' },
      (_r, body, done) => done(null, body),
    )
    const bytes = { parseAs: 'buffer', bodyLimit: CAPTURE_BYTES_MAX } as const
    this.#server.addContentTypeParser(CAPTURE_TYPE, bytes, (_r, body, done) => done(null, body))
  }

  #add(route: Route): void {
    const { method, path, query, body } = route
    const bodyLimit = body === 'capture' ? CAPTURE_BYTES_MAX : BODY_BYTES_MAX
    this.#server.route({
      method,
      url: urlOf(path),
      bodyLimit,
      handler: async (request, reply) => {
        const closed = new AbortController()
        reply.raw.once('close', () => closed.abort())
        const answer = await route.handle(this.#agent, {
          params: request.params as Record<string, string>,
          query: query === undefined ? {} : checked('query', query, request.query),
          body: bodyOf(route, request),
          closed: closed.signal,
        })
        if (!isStream(answer)) return reply.type('application/json').send(answer ?? {})
        return reply.type(answer.contentType).send(bytesOf(answer.chunks))
      },
    })
  }
}

/** Not in object mode: a chunk may be empty, and a slow client holds the source back. */
function bytesOf(chunks: AsyncIterable<string | Uint8Array>): Readable {
  return Readable.from(chunks, { objectMode: false })
}

const urlOf = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ':$1')

function bodyOf({ body }: Route, request: FastifyRequest): unknown {
  if (body === 'manifests' && String(request.body ?? '').trim() === '') {
    throw new HttpError(400, 'body: nothing, expected documents as YAML or JSON')
  }
  if (body === undefined || body === 'manifests' || body === 'capture') return request.body
  let value: unknown
  try {
    value = JSON.parse(String(request.body))
  } catch {
    throw new HttpError(400, 'body: expected JSON')
  }
  return checked('body', body, value)
}

function checked(where: string, schema: z.ZodType, value: unknown): Record<string, unknown> {
  const result = schema.safeParse(value)
  if (result.success) return result.data as Record<string, unknown>
  throw new HttpError(400, result.error.issues.map((i) => issueText(where, i, value)).join('; '))
}

function sendProblem(agent: Agent, reply: FastifyReply, error: unknown): void {
  const problem = problemOf(error)
  if (problem.status >= 500 && problem.status !== 503) {
    agent.log.error({ error: error instanceof Error ? error.stack : error }, 'request failed')
  }
  reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem))
}
