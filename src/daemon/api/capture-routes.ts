/** Captures of whole frames over the API. */
import * as z from 'zod'
import { SNAP_BYTES_MAX } from '../../monitor/capture.js'
import type { CaptureRequest } from '../../observe/capture-request.js'
import type { CaptureLimits } from '../capture-service.js'
import { HttpError } from './problem.js'
import { PCAPNG_TYPE, type Route } from './route.js'

const POINTS_MAX = 64
const text = z.string().min(1).max(253)
const port = z.int().min(0).max(65_535)

export const captureSchema = z.strictObject({
  at: z.array(text).min(1).max(POINTS_MAX).optional(),
  snapBytes: z.int().min(14).max(SNAP_BYTES_MAX).optional(),
  bufferMebibytes: z.int().min(1).max(256).optional(),
  verdict: z.enum(['forwarded', 'dropped']).optional(),
  reason: text.optional(),
  source: text.optional(),
  destination: text.optional(),
  ip: text.optional(),
  port: port.optional(),
  sourcePort: port.optional(),
  destinationPort: port.optional(),
  protocol: text.optional(),
  identity: z
    .int()
    .min(1)
    .max(2 ** 24 - 1)
    .optional(),
  count: z.int().min(1).max(1_000_000_000).optional(),
  seconds: z.number().min(0.1).max(86_400).optional(),
})

export const CAPTURE_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/capture',
    operation: 'getCapture',
    summary: 'Whether a capture is on, and what the last one took and lost',
    handle: (a) => a.captures.status,
  },
  {
    method: 'POST',
    path: '/v1/capture',
    operation: 'capture',
    summary: 'Captures whole frames as pcapng until it is ended or the client goes away',
    body: captureSchema,
    produces: PCAPNG_TYPE,
    handle: (a, r) => ({
      contentType: PCAPNG_TYPE,
      chunks: a.captures.begin(r.body as CaptureRequest & CaptureLimits, r.closed),
    }),
  },
  {
    method: 'DELETE',
    path: '/v1/capture',
    operation: 'endCapture',
    summary: 'Ends the capture that is on, whoever began it',
    handle: (a) => {
      if (!a.captures.stop()) throw new HttpError(404, 'no capture is on')
      return a.captures.status
    },
  },
]
