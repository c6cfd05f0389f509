/**
 * Routes of the API as data: what serves them and what describes them (OpenAPI) is made from the
 * same table, so that one cannot say what the other does not do.
 */
import type * as z from 'zod'
import type { Agent } from '../agent.js'

export const MANIFEST_TYPES = ['application/yaml', 'application/json', 'text/plain'] as const
export const CAPTURE_TYPE = 'application/vnd.tcpdump.pcap'
/** What captures are sent as. */
export const PCAPNG_TYPE = 'application/x-pcapng'

export interface Request {
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, unknown>>
  /** Text of manifests and of JSON; bytes of a capture. */
  readonly body: unknown
  /** The client went away. */
  readonly closed: AbortSignal
}

/** An answer that is no JSON, or not at once. */
export interface StreamReply {
  readonly contentType: string
  /** Lines, the whole text, or bytes. */
  readonly chunks: AsyncIterable<string | Uint8Array>
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** "/v1/endpoints/{id}". */
  readonly path: string
  readonly operation: string
  readonly summary: string
  readonly query?: z.ZodObject
  readonly body?: 'manifests' | 'capture' | z.ZodType
  /** Content type of the answer; JSON unless given. */
  readonly produces?: string
  handle(agent: Agent, request: Request): unknown | Promise<unknown>
}

export const isStream = (value: unknown): value is StreamReply =>
  typeof value === 'object' && value !== null && 'chunks' in value
