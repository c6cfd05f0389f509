/** Shared by the routes: the agent's view of its maps, queries of pages, and streams of flows. */
import * as z from 'zod'
import type { Flow } from '../../observe/flow.js'
import { type FlowFilter, flowMatcher } from '../../observe/flow-filter.js'
import type { PageRequest } from '../../observe/table-view.js'
import type { Agent } from '../agent.js'
import type { StreamReply } from './route.js'

const LIMIT_DEFAULT = 1_000
const LIMIT_MAX = 10_000
const count = (low: number, high: number) => z.coerce.number().int().min(low).max(high)

export const pageQuery = z.strictObject({
  cursor: count(0, 2 ** 31 - 1).default(0),
  limit: count(1, LIMIT_MAX).default(LIMIT_DEFAULT),
})

export const pageOf = (query: Readonly<Record<string, unknown>>): PageRequest => ({
  cursor: query.cursor as number,
  limit: query.limit as number,
})

export const FLOW_VERDICTS = ['FORWARDED', 'DROPPED', 'POLICY_ALLOWED', 'POLICY_DENIED'] as const

export const flowQuery = z.strictObject({
  /** Of the flows that are kept, so many of the newest. */
  last: count(0, 8_192).default(100),
  follow: z.enum(['true', 'false']).default('false'),
  verdict: z.enum(FLOW_VERDICTS).optional(),
  reason: z.string().max(64).optional(),
  source: z.string().max(64).optional(),
  destination: z.string().max(64).optional(),
  ip: z.string().max(64).optional(),
  port: count(0, 65_535).optional(),
  protocol: z.string().max(16).optional(),
  identity: count(0, 2 ** 32 - 1).optional(),
  endpoint: count(0, 65_535).optional(),
})

/** Flows that wait for a slow client at most; what is beyond is left out, and told. */
const WAITING_MAX = 10_000

/** The flows of a query as lines of JSON: those kept, and, when asked to follow, all that come. */
export function flowStream(
  agent: Agent,
  query: Readonly<Record<string, unknown>>,
  closed: AbortSignal,
  dropsOnly: boolean,
): StreamReply {
  const { last, follow, ...filter } = query
  const matches = flowMatcher(filter as FlowFilter)
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
  if (kept.length > 0) yield kept.map((flow) => `${JSON.stringify(flow)}\n`).join('')
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
      yield batch.map((flow) => `${JSON.stringify(flow)}\n`).join('') + told
    }
  } finally {
    stop()
    closed.removeEventListener('abort', onClose)
  }
}
