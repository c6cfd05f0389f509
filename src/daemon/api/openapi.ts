/** The OpenAPI 3.1 document, made from the routes. */
import * as z from 'zod'
import { VERSION } from '../../base/version.js'
import { PROBLEM_TYPE } from './problem.js'
import { CAPTURE_TYPE, MANIFEST_TYPES, type Route } from './route.js'

type Json = Readonly<Record<string, unknown>>

export function openApiDocument(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of routes) {
    const path = paths[route.path] ?? {}
    paths[route.path] = path
    path[route.method.toLowerCase()] = operationOf(route)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Ringpath agent',
      version: VERSION,
      description:
        'Over a unix socket: curl --unix-socket /run/ringpath/NODE/api.sock http://-/v1/status',
    },
    servers: [{ url: 'http://-/' }],
    paths,
    components: { schemas: { Problem: PROBLEM } },
  }
}

function operationOf(route: Route): Json {
  const type = route.produces ?? 'application/json'
  const body = bodyOf(route)
  return {
    operationId: route.operation,
    summary: route.summary,
    parameters: [...pathParameters(route), ...queryParameters(route)],
    ...(body === undefined ? {} : { requestBody: { required: true, content: body } }),
    responses: {
      200: { description: route.summary, content: { [type]: {} } },
      default: {
        description: 'What went wrong',
        content: { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  }
}

function pathParameters({ path }: Route): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function queryParameters({ query }: Route): Json[] {
  if (query === undefined) return []
  const { properties = {} } = z.toJSONSchema(query, { io: 'input' })
  return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', schema }))
}

function bodyOf({ body }: Route): Json | undefined {
  if (body === undefined) return undefined
  if (body === 'capture') return { [CAPTURE_TYPE]: {} }
  if (body === 'manifests') return Object.fromEntries(MANIFEST_TYPES.map((type) => [type, {}]))
  return { 'application/json': { schema: z.toJSONSchema(body, { io: 'input' }) } }
}

const PROBLEM: Json = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail'],
  properties: {
    type: { type: 'string', description: 'urn:ringpath:CODE, as docs/errors.md explains it' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    problems: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          source: { type: 'string' },
          line: { type: 'integer' },
          object: { type: 'string' },
          field: { type: 'string' },
          found: { type: 'string' },
          expected: { type: 'string' },
        },
      },
    },
  },
}
