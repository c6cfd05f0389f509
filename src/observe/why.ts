/** Why a packet was dropped: what the datapath noted of it, what that means, and what would be now. */
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { adviceFor } from './advice.js'
import { causeOf } from './cause.js'
import type { Explainer, Explanation } from './explain.js'
import type { Flow } from './flow.js'
import type { NameBook } from './names.js'
import { stageName } from './stage-names.js'

export interface Why {
  readonly flow: Flow
  /** Sentences, most important first. */
  readonly answer: readonly string[]
  /** What was responsible, by name, and what to do; where more is known than the reason. */
  readonly because?: string
  readonly remedy?: string
  /** The same packet through the node's present state; absent where its bytes were not kept. */
  readonly now?: Explanation
}

const SAMPLE_BYTES_MIN = 34

/** @param maps copies, or maps of one's own */
export function whyDropped(
  flow: Flow,
  maps: DatapathMaps,
  names: NameBook,
  explainer: Explainer,
  nowSeconds: number,
): Why {
  const sample = Buffer.from(flow.sample, 'hex')
  // What was not kept of it are zeros: no stage looks into the payload.
  const frame = new Uint8Array(Math.min(Math.max(flow.bytes, sample.length), 3_000))
  frame.set(sample.subarray(0, frame.length))
  const canRun = sample.length >= SAMPLE_BYTES_MIN && flow.ingressPort >= 0
  const now = canRun ? explainer.run(frame, flow.ingressPort, nowSeconds) : undefined
  const cause = causeOf(flow, maps, names)
  const advice = adviceFor(flow.dropCode)
  const general = advice === '' ? [] : [advice]
  const answer = [
    ...whatHappened(flow, names),
    ...(cause === undefined ? [] : [`because: ${cause.because}`, `to do: ${cause.remedy}`]),
    ...general,
    ...(now === undefined ? [] : [compared(flow, now)]),
  ]
  return { flow, answer, ...cause, ...(now === undefined ? {} : { now }) }
}

function whatHappened(flow: Flow, names: NameBook): string[] {
  const who = (address: string, port: number, identity: number): string => {
    const name = names.ofAddress(address)
    const labels = identity === 0 ? '' : names.identity(identity)
    const place = port === 0 || flow.protocol === 'ICMP' ? address : `${address}:${port}`
    const parts = [name, labels].filter((text) => text !== '').join(', ')
    return parts === '' ? place : `${place} (${parts})`
  }
  const source = who(flow.source, flow.sourcePort, flow.sourceIdentity)
  const destination = who(flow.destination, flow.destinationPort, flow.destinationIdentity)
  const lines = [`${flow.protocol} from ${source} to ${destination}, ${flow.bytes} bytes`]
  if (flow.dropCode === 0) return [...lines, `was not dropped: ${fateOf(flow, names)}`]
  lines.push(`dropped with ${flow.dropCode} ${flow.dropReason}: ${flow.dropText}`)
  const side =
    flow.direction === 'none' ? '' : `, ${flow.direction} of ${names.endpoint(flow.endpoint)}`
  lines.push(`in stage ${stageName(flow.stage)}${side}; connection ${flow.connection}`)
  if (flow.ruleCookie !== 0) lines.push(`the rule that decided: ${names.rule(flow.ruleCookie)}`)
  return lines
}

/** Of one that was not dropped. */
function fateOf(
  { verdict, observationPoint, direction, endpoint, ruleCookie }: Flow,
  names: NameBook,
) {
  if (verdict === 'FORWARDED') return `forwarded ${observationPoint ?? ''}`.trimEnd()
  const rule = names.rule(ruleCookie)
  const by = rule === '' ? ', no policy being there' : ` by ${rule}`
  return `${direction} policy of ${names.endpoint(endpoint)} allowed it${by}`
}

function compared(flow: Flow, now: Explanation): string {
  if (flow.dropCode === 0) {
    return now.verdict === 'DROPPED'
      ? `now the same packet would be dropped with ${now.dropCode} ${now.dropReason}`
      : 'now the same packet would pass, too'
  }
  if (now.verdict !== 'DROPPED') {
    return 'now the same packet would pass: something has changed since, or it was a race'
  }
  if (now.dropCode === flow.dropCode)
    return 'now the same packet would be dropped for the same reason'
  return `now the same packet would be dropped with ${now.dropCode} ${now.dropReason}`
}
