/** A flow with the names of both its ends, of its stage and of its rule, as they are now. */
import type { Flow } from './flow.js'
import type { NameBook } from './names.js'
import { stageName } from './stage-names.js'

export interface FlowView extends Flow {
  /** "default/web", where an address is that of an endpoint here. */
  readonly sourcePod?: string
  readonly destinationPod?: string
  /** "default/web:80", where address and port are a service's. */
  readonly sourceService?: string
  readonly destinationService?: string
  /** Of the identities, such as "k8s:app=web" or "reserved:world". */
  readonly sourceLabels: readonly string[]
  readonly destinationLabels: readonly string[]
  /** Whose policy was asked last. */
  readonly endpointName?: string
  readonly stageName: string
  readonly rule?: string
}

export function flowView(flow: Flow, names: NameBook): FlowView {
  const { source, destination, sourcePort, destinationPort, protocol } = flow
  const optional = {
    sourcePod: names.ofAddress(source),
    destinationPod: names.ofAddress(destination),
    sourceService: names.service(source, sourcePort, protocol),
    destinationService: names.service(destination, destinationPort, protocol),
    endpointName: names.endpoint(flow.endpoint),
    rule: names.rule(flow.ruleCookie),
  }
  const { sample, ...rest } = flow
  return {
    ...rest,
    ...Object.fromEntries(Object.entries(optional).filter(([, name]) => name !== '')),
    sourceLabels: names.identityLabels(flow.sourceIdentity),
    destinationLabels: names.identityLabels(flow.destinationIdentity),
    stageName: stageName(flow.stage),
    sample,
  }
}
