/** Errors as problem+json (RFC 9457). */
import { ErrorCode, RingpathError } from '../../base/errors.js'
import { DocumentError, type Problem } from '../../k8s/problem.js'

export const PROBLEM_TYPE = 'application/problem+json'

export interface ProblemDetails {
  /** "urn:ringpath:ECONFIG_INVALID"; docs/errors.md explains the code. */
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  /** Of documents: each thing that is wrong. */
  readonly problems?: readonly Problem[]
}

const STATUS_OF = new Map<string, number>([
  [ErrorCode.CONFIG_INVALID, 422],
  [ErrorCode.WIRE_ADDRESS, 422],
  [ErrorCode.PCAP_FORMAT, 422],
  [ErrorCode.CAPTURE_RUNNING, 409],
  [ErrorCode.MAP_FULL, 507],
  [ErrorCode.PORT_LIMIT, 507],
])

/** An error of the request itself, with its HTTP status. */
export class HttpError extends Error {
  readonly status: number

  constructor(status: number, detail: string) {
    super(detail)
    this.status = status
  }
}

export function problemOf(error: unknown): ProblemDetails {
  if (error instanceof DocumentError) {
    return { ...details(422, error.code, error.message), problems: error.problems }
  }
  if (error instanceof RingpathError) {
    return details(STATUS_OF.get(error.code) ?? 500, error.code, error.message)
  }
  if (error instanceof HttpError) return details(error.status, 'about:blank', error.message)
  const { statusCode, message } = error as { statusCode?: number; message?: string }
  return details(statusCode ?? 500, 'about:blank', message ?? 'unknown')
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  404: 'Not found',
  409: 'Conflict',
  413: 'Request too large',
  415: 'Unsupported media type',
  422: 'Not valid',
  503: 'Busy',
  507: 'Table full',
}

function details(status: number, code: string, detail: string): ProblemDetails {
  const type = code === 'about:blank' ? code : `urn:ringpath:${code}`
  return { type, title: TITLES[status] ?? 'Internal error', status, detail }
}
