/** Errors of the control plane: a stable code, what was found, what was expected, and the cause. */

/** Every code an operator can meet; docs/errors.md explains each. */
export const ErrorCode = {
  CONFIG_INVALID: 'ECONFIG_INVALID',
  GENERATOR: 'EGENERATOR',
  LAB_SETUP: 'ELAB_SETUP',
  LAB_TIMEOUT: 'ELAB_TIMEOUT',
  MAP_FORMAT: 'EMAP_FORMAT',
  MAP_FULL: 'EMAP_FULL',
  MAP_SPEC: 'EMAP_SPEC',
  PCAP_FORMAT: 'EPCAP_FORMAT',
  PORT_ATTACH: 'EPORT_ATTACH',
  PORT_LIMIT: 'EPORT_LIMIT',
  PROCESS_RUNNING: 'EPROCESS_RUNNING',
  CAPTURE_RUNNING: 'ECAPTURE_RUNNING',
  PROCESS_START: 'EPROCESS_START',
  WIRE_ADDRESS: 'EWIRE_ADDRESS',
} as const
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode]

export class RingpathError extends Error {
  override readonly name = 'RingpathError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}
