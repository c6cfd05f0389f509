/** Every route of the API, version 1. docs/api.md shows each in use. */
import * as z from 'zod'
import { DocumentError } from '../../k8s/problem.js'
import { flowView } from '../../observe/flow-view.js'
import { topView } from '../../observe/top-view.js'
import type { Agent } from '../agent.js'
import type { Proposal } from '../document-store.js'
import { LOG_LEVELS } from '../log-level.js'
import { healthOf, statusOf } from '../status.js'
import { CAPTURE_ROUTES } from './capture-routes.js'
import { explainFlow, replayCapture, tracePacket } from './explain-routes.js'
import { openApiDocument } from './openapi.js'
import { HttpError } from './problem.js'
import type { Request, Route } from './route.js'
import { flowQuery, flowStream, pageOf, pageQuery, topQuery } from './views.js'

const endpointQuery = pageQuery.extend({
  endpoint: z.coerce.number().int().min(0).max(65_535).optional(),
})

export const packetSchema = z.strictObject({
  in: z.string().min(1).max(253),
  source: z.string().max(253).optional(),
  destination: z.string().min(1).max(253),
  protocol: z.enum(['tcp', 'udp', 'icmp']),
  sourcePort: z.int().optional(),
  destinationPort: z.int().optional(),
  tcpFlags: z.string().max(64).optional(),
  ttl: z.int().optional(),
  payloadBytes: z.int().optional(),
})

const get = (
  path: string,
  operation: string,
  summary: string,
  handle: Route['handle'],
  more: Partial<Route> = {},
): Route => ({ method: 'GET', path, operation, summary, handle, ...more })

const tables: readonly Route[] = [
  get('/v1/endpoints', 'listEndpoints', 'Endpoints, host pair and uplinks, with their ports', (a) =>
    a.view.endpoints(),
  ),
  get('/v1/endpoints/{id}', 'getEndpoint', 'One endpoint by id or name', (a, r) => endpoint(a, r)),
  get('/v1/services', 'listServices', 'Service frontends with their backends', (a) =>
    a.view.services(),
  ),
  get(
    '/v1/policies',
    'listPolicyEntries',
    'Entries of the policy map, of all endpoints or one',
    (a, r) => a.view.policy(pageOf(r.query), r.query.endpoint as number | undefined),
    { query: endpointQuery },
  ),
  get('/v1/identities', 'listIdentities', 'Identities in use, with labels', (a) =>
    a.view.identities(),
  ),
  get('/v1/ipcache', 'listIpcache', 'Which identity each address and prefix has', (a) =>
    a.view.ipcache(),
  ),
  get(
    '/v1/conntrack',
    'listConnections',
    'Connections, in pages',
    (a, r) => a.view.connections(pageOf(r.query)),
    { query: pageQuery },
  ),
  get('/v1/nat', 'listNat', 'NAT mappings, in pages', (a, r) => a.view.nat(pageOf(r.query)), {
    query: pageQuery,
  }),
  get('/v1/maps', 'listMaps', 'Maps with size, capacity and pressure', (a) => a.view.mapList()),
  get(
    '/v1/maps/{name}',
    'dumpMap',
    'Entries of a map, word by word',
    (a, { params, query }) => a.view.map(params.name ?? '', pageOf(query)),
    { query: pageQuery },
  ),
]

const observation: readonly Route[] = [
  get(
    '/v1/top',
    'getTop',
    'Who has the most entries of the connection table and the NAT',
    (a, r) => topView(a.view, r.query.limit as number),
    { query: topQuery },
  ),
  get(
    '/v1/counters',
    'listCounters',
    'Forwarded and dropped packets by reason and direction',
    (a) => a.view.counters(),
  ),
  get(
    '/v1/drops',
    'streamDrops',
    'The last drops, and those to come',
    (a, r) => flowStream(a, r.query, r.closed, true),
    { query: flowQuery, produces: 'application/x-ndjson' },
  ),
  get(
    '/v1/flows',
    'streamFlows',
    'The last flows, and those to come',
    (a, r) => flowStream(a, r.query, r.closed, false),
    { query: flowQuery, produces: 'application/x-ndjson' },
  ),
  get('/v1/flows/{id}', 'getFlow', 'One flow by its number', (a, r) =>
    flowView(flow(a, r), a.view.names),
  ),
  get(
    '/v1/flows/{id}/explanation',
    'explainFlow',
    'Why a flow was dropped, and what would become of it now',
    (a, r) => explainFlow(a, flow(a, r)),
  ),
  get('/v1/metrics', 'getMetrics', 'Metrics in the Prometheus text format', (a) => metrics(a), {
    produces: 'text/plain; version=0.0.4; charset=utf-8',
  }),
]

const state: readonly Route[] = [
  get('/v1/health', 'getHealth', '200 while frames flow, 503 while they do not', (a) => {
    const health = healthOf(a)
    if (!health.isHealthy) throw new HttpError(503, health.reasons.join('; '))
    return health
  }),
  get('/v1/status', 'getStatus', 'Agent, datapath, documents and tables at a glance', (a) =>
    statusOf(a),
  ),
  get(
    '/v1/config',
    'getConfig',
    'The node’s document, with every default filled in',
    (a) => a.node,
  ),
  get('/v1/objects', 'listObjects', 'Documents in force, and where they come from', (a) =>
    a.store.state.documents.map(({ key, source, raw }) => ({ key, source, document: raw.value })),
  ),
  {
    method: 'DELETE',
    path: '/v1/objects/{kind}/{namespace}/{name}',
    operation: 'deleteObject',
    summary: 'Deletes a document that came over the API; namespace "-" of objects without one',
    handle: (a, r) => deleteObject(a, r),
  },
  {
    method: 'POST',
    path: '/v1/apply',
    operation: 'apply',
    summary: 'Puts documents in force: all of them, or none',
    body: 'manifests',
    handle: (a, r) => {
      const proposal = accepted(a.store.proposeApply(manifests(r)))
      const changes = a.diff(proposal.state)
      return { changes, failures: a.apply(proposal) }
    },
  },
  {
    method: 'POST',
    path: '/v1/diff',
    operation: 'diff',
    summary: 'What applying documents would change; nothing is done',
    body: 'manifests',
    handle: (a, r) => {
      return { changes: a.diff(accepted(a.store.proposeApply(manifests(r))).state) }
    },
  },
]

const tools: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/trace',
    operation: 'trace',
    summary: 'What would become of a packet, stage by stage; nothing is sent',
    body: packetSchema,
    handle: (a, r) => tracePacket(a, r.body as z.output<typeof packetSchema>),
  },
  {
    method: 'POST',
    path: '/v1/replay',
    operation: 'replay',
    summary: 'A capture run through the node’s state; nothing is sent',
    body: 'capture',
    query: z.strictObject({ in: z.string().max(253).optional() }),
    handle: (a, r) => replayCapture(a, r),
  },
  get('/v1/log-level', 'getLogLevel', 'Level of the agent’s log', (a) => ({ level: a.log.level })),
  {
    method: 'PUT',
    path: '/v1/log-level',
    operation: 'setLogLevel',
    summary: 'Sets the level of the agent’s log until it ends',
    body: z.strictObject({ level: z.enum(LOG_LEVELS) }),
    handle: (a, r) => {
      a.log.level = (r.body as { level: string }).level
      return { level: a.log.level }
    },
  },
  get('/v1/openapi.json', 'getOpenApi', 'This description', () => openApiDocument(ROUTES)),
]

export const ROUTES: readonly Route[] = [
  ...tables,
  ...observation,
  ...CAPTURE_ROUTES,
  ...state,
  ...tools,
]

function endpoint(agent: Agent, { params }: Request) {
  const wanted = params.id ?? ''
  const found = agent.view.endpoints().find(({ id, name }) => `${id}` === wanted || name === wanted)
  if (found === undefined) throw new HttpError(404, `no endpoint '${wanted}' on this node`)
  return found
}

function flow(agent: Agent, { params }: Request) {
  const found = agent.flows.find(Number(params.id))
  if (found !== undefined) return found
  throw new HttpError(404, `no flow ${params.id}: it was never, or is not kept any more`)
}

async function metrics(agent: Agent) {
  const text = await agent.metrics.text()
  async function* once() {
    yield text
  }
  return { contentType: agent.metrics.contentType, chunks: once() }
}

const manifests = ({ body }: Request): string => (typeof body === 'string' ? body : '')

function accepted(proposal: Proposal): Proposal {
  if (proposal.problems.length > 0) throw new DocumentError(proposal.problems)
  return proposal
}

function deleteObject(agent: Agent, { params }: Request) {
  const { kind = '', namespace = '', name = '' } = params
  const key = namespace === '-' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`
  const file = agent.store.fileOf(key)
  if (file !== undefined) {
    throw new HttpError(409, `${key} is declared in ${file}: delete it there`)
  }
  const proposal = agent.store.proposeDelete(key)
  if (proposal === undefined) throw new HttpError(404, `no ${key}`)
  const changes = agent.diff(accepted(proposal).state)
  return { changes, failures: agent.apply(proposal) }
}
