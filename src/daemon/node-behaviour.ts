/** How a node treats packets that cannot go on as they are: what an operator may choose. */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { DenyResponse, type NodeSettings } from '../endpoint/node-settings.js'

export interface NodeBehaviour {
  /** At first true; false: every IPv4 fragment is dropped (157). */
  readonly fragmentTracking?: boolean
  /**
   * What a local sender gets whose packet a policy denied: nothing (at first), ICMP
   * "administratively prohibited", or a reset for TCP and ICMP for all else.
   */
  readonly policyDenyResponse?: 'none' | 'icmp' | 'reset'
  /** ICMP errors and resets in answer to one port's senders, 0 to 1,000,000; at first 100. */
  readonly answersPerSecond?: number
  /** The same at once after a rest, 0 to 1,000,000; at first 1000. */
  readonly answersBurst?: number
}

const ANSWERS_MAX = 1_000_000

const RESPONSES = new Map<string, DenyResponse>([
  ['none', DenyResponse.NONE],
  ['icmp', DenyResponse.ICMP],
  ['reset', DenyResponse.RESET],
])

/** ECONFIG_INVALID, and nothing written, when a value is none of those above. */
export function setNodeBehaviour(node: NodeSettings, behaviour: NodeBehaviour): void {
  const { fragmentTracking, policyDenyResponse, answersPerSecond, answersBurst } = behaviour
  if (fragmentTracking !== undefined && typeof fragmentTracking !== 'boolean') {
    throw invalid('fragmentTracking', fragmentTracking, 'true or false')
  }
  const response =
    policyDenyResponse === undefined ? node.denyResponse : RESPONSES.get(policyDenyResponse)
  if (response === undefined) {
    throw invalid('policyDenyResponse', policyDenyResponse, 'none, icmp or reset')
  }
  checkCount('answersPerSecond', answersPerSecond)
  checkCount('answersBurst', answersBurst)
  if (fragmentTracking !== undefined) node.isFragmentTracking = fragmentTracking
  node.denyResponse = response
  if (answersPerSecond !== undefined) node.answersPerSecond = answersPerSecond
  if (answersBurst !== undefined) node.answersBurst = answersBurst
}

function checkCount(field: string, value: number | undefined): void {
  if (value === undefined) return
  if (Number.isInteger(value) && value >= 0 && value <= ANSWERS_MAX) return
  throw invalid(field, value, `a whole number from 0 to ${ANSWERS_MAX}`)
}

function invalid(field: string, value: unknown, expected: string): RingpathError {
  const text = `node.${field}: '${String(value)}', expected ${expected}`
  return new RingpathError(ErrorCode.CONFIG_INVALID, text)
}
