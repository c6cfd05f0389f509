/** What the parts of a NodeController share: checks of what they are given, and how they refuse. */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { EndpointPolicy } from '../policy/policy-rule.js'
import { DEVICE_NAME_BYTES_MAX } from '../port/port-table.js'

/** Number of the endpoint that stands for the node itself, on its host pair and uplinks. */
export const HOST_ENDPOINT_ID = 0xffff

/** A /32 or /128 as words has this many bits. */
export const HOST_PREFIX_LENGTH = 128

export const OPEN: EndpointPolicy = { enforceIngress: false, enforceEgress: false, rules: [] }

export const ipcacheFull = (): RingpathError =>
  new RingpathError(ErrorCode.MAP_FULL, 'map ipcache: full; raise its size')

export function invalid(field: string, value: string, expected: string): RingpathError {
  return new RingpathError(ErrorCode.CONFIG_INVALID, `${field}: '${value}', expected ${expected}`)
}

export function checkRange(field: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return
  throw invalid(field, String(value), `a whole number from ${low} to ${high}`)
}

export function checkDevice(field: string, name: string): string {
  const isName = /^[^\s/:]+$/.test(name) && Buffer.byteLength(name) <= DEVICE_NAME_BYTES_MAX
  if (isName && name !== '.' && name !== '..') return name
  throw invalid(field, name, `a device name of 1 to ${DEVICE_NAME_BYTES_MAX} bytes`)
}
