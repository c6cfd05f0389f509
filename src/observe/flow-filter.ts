/** Which flows somebody wants to see: every condition that is given must hold. */

import { contains } from '../policy-rules/cidr-index.js'
import { parseCidr } from '../wire/address.js'
import type { Flow, FlowVerdict } from './flow.js'

export interface FlowFilter {
  readonly verdict?: FlowVerdict
  /** Name or number of a drop reason. */
  readonly reason?: string
  /** Addresses or prefixes; `ip` is for either side. */
  readonly source?: string
  readonly destination?: string
  readonly ip?: string
  readonly port?: number
  readonly protocol?: string
  readonly identity?: number
  readonly endpoint?: number
}

/** @throws RingpathError WIRE_ADDRESS for a text that is no prefix */
export function flowMatcher(filter: FlowFilter): (flow: Flow) => boolean {
  const tests: ((flow: Flow) => boolean)[] = []
  const { verdict, reason, source, destination, ip, port, protocol, identity, endpoint } = filter
  if (verdict !== undefined) tests.push((flow) => flow.verdict === verdict)
  if (reason !== undefined) {
    const name = reason.toUpperCase()
    tests.push((flow) => flow.dropReason === name || `${flow.dropCode}` === reason)
  }
  if (source !== undefined) tests.push(within(source, (flow) => [flow.source]))
  if (destination !== undefined) tests.push(within(destination, (flow) => [flow.destination]))
  if (ip !== undefined) tests.push(within(ip, (flow) => [flow.source, flow.destination]))
  if (port !== undefined) {
    tests.push((flow) => flow.sourcePort === port || flow.destinationPort === port)
  }
  if (protocol !== undefined) {
    const name = protocol.toUpperCase()
    tests.push((flow) => flow.protocol === name)
  }
  if (identity !== undefined) {
    tests.push((flow) => flow.sourceIdentity === identity || flow.destinationIdentity === identity)
  }
  if (endpoint !== undefined) tests.push((flow) => flow.endpoint === endpoint)
  return (flow) => tests.every((test) => test(flow))
}

function within(text: string, addresses: (flow: Flow) => string[]): (flow: Flow) => boolean {
  const prefix = parseCidr(text)
  return (flow) => addresses(flow).some((address) => contains(prefix, parseCidr(address)))
}
