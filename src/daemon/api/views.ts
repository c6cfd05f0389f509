/** Shared by the routes: the agent's view of its maps, queries of pages, and streams of flows. */
import * as z from 'zod'
import type { Flow } from '../../observe/flow.js'
import {
  FLOW_FIELDS,
  type FlowField,
  type FlowFilter,
  flowMatcher,
} from '../../observe/flow-filter.js'
import { flowView } from '../../observe/flow-view.js'
import type { PageRequest } from '../../observe/table-view.js'
import type { Agent } from '../agent.js'
import type { StreamReply } from './route.js'

const LIMIT_DEFAULT = 1_000
const LIMIT_MAX = 10_000
const NOT = 'not.'
const count = (low: number, high: number) => z.coerce.number().int().min(low).max(high)

export const pageQuery = z.strictObject({
  cursor: count(0, 2 ** 31 - 1).default(0),
  limit: count(1, LIMIT_MAX).default(LIMIT_DEFAULT),
})

/** Rows of each list. */
export const topQuery = z.strictObject({ limit: count(1, 1_000).default(10) })

export const pageOf = (query: Readonly<Record<string, unknown>>): PageRequest => ({
  cursor: query.cursor as number,
  limit: query.limit as number,
})

/** The longest DNS name, as names of pods and services are. */
const VALUE_BYTES_MAX = 253
const VALUES_MAX = 64
const value = z.string().min(1).max(VALUE_BYTES_MAX)
/** A field may be given several times: any of the values is meant. */
const values = z.union([value, z.array(value).max(VALUES_MAX)]).optional()

/** Each field, and "not.<field>" for what is to be left out. */
const flowFields = Object.fromEntries(
  FLOW_FIELDS.flatMap((field) => [field, `${NOT}${field}`]).map((name) => [name, values] as const),
)

export const flowQuery = z.strictObject({
  /** Of the flows that are kept, so many of the newest. */
  last: count(0, 8_192).default(100),
  follow: z.enum(['true', 'false']).default('false'),
  since: z.string().max(64).optional(),
  until: z.string().max(64).optional(),
  ...flowFields,
})

type Values = Partial<Record<FlowField, readonly string[]>>

function filterOf(query: Readonly<Record<string, unknown>>): FlowFilter {
  const fields = (prefix: string): Values => {
    const given: Values = {}
    for (const field of FLOW_FIELDS) {
      const found = query[`${prefix}${field}`]
      if (found !== undefined) given[field] = [found].flat() as string[]
    }
    return given
  }
  const { since, until } = query as { since?: string; until?: string }
  const times = { ...(since && { since }), ...(until && { until }) }
  return { is: fields(''), not: fields(NOT), ...times }
}

/** Flows that wait for a slow client at most; what is beyond is left out, and told. */
const WAITING_MAX = 10_000

/** The flows of a query as lines of JSON: those kept, and, when asked to follow, all that come. */
export function flowStream(
  agent: Agent,
  query: Readonly<Record<string, unknown>>,
  closed: AbortSignal,
  dropsOnly: boolean,
): StreamReply {
  const { last, follow } = query
  const matches = flowMatcher(filterOf(query), () => agent.view.names)
  const wanted = (flow: Flow): boolean => {
    return (!dropsOnly || flow.verdict === 'DROPPED') && matches(flow)
  }
  const kept = agent.flows.last(last as number, wanted, dropsOnly)
  const chunks = lines(agent, kept, follow === 'true' ? wanted : undefined, closed)
  return { contentType: 'application/x-ndjson', chunks }
}

async function* lines(
  agent: Agent,
  kept: readonly Flow[],
  wanted: ((flow: Flow) => boolean) | undefined,
  closed: AbortSignal,
): AsyncGenerator<string> {
  const line = (flow: Flow): string => `${JSON.stringify(flowView(flow, agent.view.names))}\n`
  if (kept.length > 0) yield kept.map(line).join('')
  if (wanted === undefined) return
  const waiting: Flow[] = []
  let left = 0
  let wake = (): void => {}
  const stop = agent.flows.follow((flow) => {
    if (!wanted(flow)) return
    if (waiting.length < WAITING_MAX) waiting.push(flow)
    else left++
    wake()
  })
  const onClose = (): void => wake()
  closed.addEventListener('abort', onClose)
  try {
    while (!closed.aborted) {
      if (waiting.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      const batch = waiting.splice(0)
      const told = left > 0 ? `${JSON.stringify({ lost: left })}\n` : ''
      left = 0
      yield batch.map(line).join('') + told
    }
  } finally {
    stop()
    closed.removeEventListener('abort', onClose)
  }
}
