/**
 * Explains what becomes of one packet: the real chain runs over copies of the node's maps, and after
 * each stage is noted what it found and changed. Nothing is sent and nothing is written but the
 * copies, so that it can be done on a node at work.
 */
import { getSystemErrorName } from 'node:util'
import { BURST_CAPACITY } from '../base/limits.js'
import { Endpoint } from '../endpoint/endpoint-table.js'
import { EVENT_WORDS } from '../monitor/event.js'
import { Burst } from '../packet/burst.js'
import { dropReasonName, dropReasonText } from '../packet/drop-reason.js'
import { PacketBuffer } from '../packet/packet-buffer.js'
import { Direction, Verdict } from '../packet/verdict.js'
import type { PacketContext } from '../pipeline/context.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { ENTRY, type PipelineObserver } from '../pipeline/observer.js'
import { Pipeline } from '../pipeline/pipeline.js'
import { TailCall } from '../pipeline/tail-call.js'
import { PolicyMap } from '../policy/policy-map.js'
import { adviceFor } from './advice.js'
import { causeOf } from './cause.js'
import { endpointNameOfPort } from './endpoint-view.js'
import { describePacket, type Snapshot, snapshotOf } from './explain-snapshot.js'
import { connectionName, type Flow, flowOf, protocolName } from './flow.js'
import type { NameBook } from './names.js'
import { serviceRows } from './service-view.js'
import { stageName, stagePurpose } from './stage-names.js'
import { CONNECTION_KEY_WORDS, connection } from './table-view.js'

export interface Step {
  readonly stage: string
  /** Cilium's tail call; -1 for the entry. */
  readonly number: number
  readonly purpose: string
  /** What it found and changed. */
  readonly notes: readonly string[]
  /** "→ IPV4_CT_EGRESS", "forward", "drop", "done". */
  readonly outcome: string
}

export interface Explanation {
  readonly packet: string
  readonly ingress: string
  readonly steps: readonly Step[]
  readonly verdict: 'FORWARDED' | 'DROPPED' | 'CONSUMED'
  /** The port that it, or the answer to a drop, leaves by. */
  readonly egress?: string
  /** The packet as it leaves. */
  readonly packetOut?: string
  readonly dropCode?: number
  readonly dropReason?: string
  readonly dropText?: string
  readonly advice?: string
  /** What was responsible, by name, and what to do; where more is known than the reason. */
  readonly because?: string
  readonly remedy?: string
}

const FRAME_STRIDE = 4096
const FRAME_HEADROOM = 256
const MATCHES = [
  'no entry',
  'identity',
  'identity and port',
  'port',
  'any',
  'identity and protocol',
  'protocol',
]

export class Explainer {
  readonly #maps: DatapathMaps
  readonly #names: NameBook
  readonly #pipeline: Pipeline
  readonly #burst = new Burst(BURST_CAPACITY)
  readonly #bytes: Uint8Array
  readonly #trace: Trace

  /** @param maps copies, or maps of one's own: they are changed as by any packet */
  constructor(maps: DatapathMaps, names: NameBook) {
    this.#maps = maps
    this.#names = names
    const memory = new ArrayBuffer(FRAME_STRIDE * BURST_CAPACITY)
    this.#bytes = new Uint8Array(memory)
    const packet = new PacketBuffer(memory, FRAME_STRIDE)
    this.#pipeline = new Pipeline(maps.stateFor(0), packet, BURST_CAPACITY)
    this.#trace = new Trace(maps, names)
    this.#pipeline.observer = this.#trace
  }

  /** The frame as bytes after the last `run`. */
  get frame(): Uint8Array {
    const start = this.#burst.starts[0] ?? 0
    return this.#bytes.slice(start, start + (this.#burst.lengths[0] ?? 0))
  }

  /**
   * @param frame from its Ethernet header on, at most 3 KiB
   * @param port that it comes in by
   * @param nowSeconds of the clock that connections expire by
   */
  run(frame: Uint8Array, port: number, nowSeconds: number, nowNanoseconds = 0): Explanation {
    const burst = this.#burst
    this.#bytes.set(frame, FRAME_HEADROOM)
    burst.starts[0] = FRAME_HEADROOM
    burst.lengths[0] = frame.length
    burst.ports[0] = port
    burst.count = 1
    burst.setTime(nowSeconds, nowNanoseconds)
    this.#trace.reset()
    this.#maps.events.skip()
    this.#pipeline.run(burst)
    return this.#explanation(port)
  }

  #explanation(port: number): Explanation {
    const { packet, steps, verdict, packetOut } = this.#trace
    const base = { packet, ingress: endpointNameOfPort(this.#maps, this.#names, port), steps }
    const told = this.#toldDrop()
    const code = told?.dropCode ?? (verdict < 0 ? -verdict : 0)
    const out = verdict === Verdict.REDIRECT ? (this.#burst.ports[0] ?? -1) : -1
    const device = out < 0 ? '' : deviceOf(this.#maps, out)
    const egress = `${endpointNameOfPort(this.#maps, this.#names, out)} (${device})`
    if (code === 0) {
      if (out < 0) return { ...base, verdict: 'CONSUMED' }
      return { ...base, verdict: 'FORWARDED', egress, packetOut }
    }
    return {
      ...base,
      // Its sender may be answered all the same.
      ...(out < 0 ? {} : { egress, packetOut }),
      verdict: 'DROPPED',
      dropCode: code,
      dropReason: dropReasonName(code),
      dropText: dropReasonText(code),
      advice: adviceFor(code),
      ...(told === undefined ? {} : causeOf(told, this.#maps, this.#names)),
    }
  }

  /** The drop that the chain has told of. */
  #toldDrop(): Flow | undefined {
    const event = new Int32Array(EVENT_WORDS)
    while (this.#maps.events.read(event)) {
      const flow = flowOf(event, 0, new Date())
      if (flow.verdict === 'DROPPED') return flow
    }
    return undefined
  }
}

/** Notes what each stage did, from the difference that it made. */
class Trace implements PipelineObserver {
  readonly #maps: DatapathMaps
  readonly #names: NameBook
  #before: Snapshot | undefined
  packet = ''
  packetOut = ''
  steps: Step[] = []
  verdict: Verdict = Verdict.CONTINUE

  /** Apart from the chain's own, whose last answer the stages still read. */
  readonly #policies: PolicyMap

  constructor(maps: DatapathMaps, names: NameBook) {
    this.#maps = maps
    this.#names = names
    this.#policies = new PolicyMap(maps.policyEntries, maps.policyPrefixes)
  }

  reset(): void {
    this.steps = []
    this.verdict = Verdict.CONTINUE
  }

  begins(ctx: PacketContext): void {
    this.#before = snapshotOf(ctx)
    this.packet = describePacket(ctx)
  }

  passed(ctx: PacketContext, stage: number, verdict: Verdict): void {
    // The flow lane would carry the next packet like this one without asking a stage.
    ctx.isRepeatable = false
    const after = snapshotOf(ctx)
    const before = this.#before ?? after
    const notes = [
      ...this.#entryNotes(ctx, stage),
      ...this.#connectionNotes(ctx, stage),
      ...this.#serviceNotes(before, after),
      ...this.#identityNotes(before, after),
      ...this.#policyNotes(ctx, stage, before, verdict),
      ...changeNotes(before, after),
      ...this.#outcomeNotes(ctx, verdict),
    ]
    const outcome = outcomeOf(ctx, verdict)
    this.steps.push({
      stage: stageName(stage),
      number: stage,
      purpose: stagePurpose(stage),
      notes,
      outcome,
    })
    this.#before = after
    this.verdict = verdict
    this.packetOut = describePacket(ctx)
  }

  #entryNotes(ctx: PacketContext, stage: number): string[] {
    if (stage !== ENTRY) return []
    const device = this.#maps.ports.device(ctx.ingressPort)
    const name = endpointNameOfPort(this.#maps, this.#names, ctx.ingressPort)
    return [`came in by port ${ctx.ingressPort}, ${name} (${device})`]
  }

  #connectionNotes(ctx: PacketContext, stage: number): string[] {
    if (stage !== TailCall.IPV4_CT_EGRESS && stage !== TailCall.IPV4_CT_INGRESS) return []
    const result = connectionName(ctx.ctResult).toUpperCase()
    if (ctx.ctSlot < 0) return [`connection: ${result}, no entry in either direction`]
    const table = this.#maps.conntrackTable
    const key = new Int32Array(CONNECTION_KEY_WORDS)
    const value = new Int32Array(table.spec.valueWords)
    if (!table.read(ctx.ctSlot, key, value)) return [`connection: ${result}`]
    const entry = connection(key, value, ctx.nowSeconds)
    const counts = `${entry.packets} packets, expires in ${entry.expiresSeconds} s`
    const flow = `${entry.protocol} ${entry.source} → ${entry.destination}`
    return [`connection: ${result}, entry ${entry.side} ${flow} (${entry.state}; ${counts})`]
  }

  #serviceNotes(before: Snapshot, after: Snapshot): string[] {
    const index = after.revNatIndex
    if (index === before.revNatIndex || index === 0) return []
    const service = serviceRows(this.#maps.services, this.#names).find(
      ({ revNatIndex }) => revNatIndex === index,
    )
    if (service === undefined) return [`service: reverse NAT index ${index}`]
    const offered = service.backends.filter(({ isOffered }) => isOffered).length
    const name = service.service === '' ? '' : `${service.service}, `
    const { type, address, port, protocol, algorithm } = service
    const frontend = `${type} ${address}:${port}/${protocol}`
    return [`service: ${name}${frontend}, backends: ${offered}, chosen by ${algorithm}`]
  }

  #identityNotes(before: Snapshot, after: Snapshot): string[] {
    const notes: string[] = []
    const say = (side: string, number: number, address: string): void => {
      const labels = this.#names.identity(number)
      const name = this.#names.ofAddress(address)
      const who = name === '' ? address : `${name} (${address})`
      notes.push(`${side}: ${who} has identity ${number}${labels === '' ? '' : ` (${labels})`}`)
    }
    if (before.sourceIdentity !== after.sourceIdentity && after.sourceIdentity !== 0) {
      say('source', after.sourceIdentity, after.source)
    }
    if (
      before.destinationIdentity !== after.destinationIdentity &&
      after.destinationIdentity !== 0
    ) {
      say('destination', after.destinationIdentity, after.destination)
    }
    return notes
  }

  #policyNotes(ctx: PacketContext, stage: number, before: Snapshot, verdict: Verdict): string[] {
    const isEgress = stage === TailCall.IPV4_FROM_LXC_CONT
    if (!isEgress && stage !== TailCall.IPV4_TO_ENDPOINT) return []
    const port = isEgress ? ctx.ingressPort : ctx.destinationEndpoint
    const name = endpointNameOfPort(this.#maps, this.#names, port)
    const side = `${isEgress ? 'egress' : 'ingress'} policy of ${name}`
    if (ctx.ctResult >= 2) return [`${side}: not asked, it answers a connection that was allowed`]
    if (before.isLoopback) return [`${side}: not asked, a pod may always reach itself`]
    return [`${side}: ${this.#judged(ctx, port, isEgress, verdict)}`]
  }

  /** Asks the policy once more, for a connection that remembers its verdict asks it no more. */
  #judged(ctx: PacketContext, port: number, isEgress: boolean, verdict: Verdict): string {
    const row = this.#maps.endpoints.rowStart(port)
    const policy = this.#maps.endpoints.words[row + Endpoint.POLICY] ?? 0
    const direction = isEgress ? Direction.EGRESS : Direction.INGRESS
    const identity = isEgress ? ctx.destinationIdentity : ctx.sourceIdentity
    const policies = this.#policies
    const destinationPort = ctx.icmpType >= 0 ? ctx.icmpType : ctx.destinationPort
    const said = policies.lookup(policy, direction, identity, ctx.protocol, destinationPort, true)
    const peer = this.#names.identity(identity) || `identity ${identity}`
    const what = `${peer} at ${protocolName(ctx.protocol)} ${destinationPort}`
    if (said === 0) {
      const rule =
        policies.cookie === 0 ? 'no policy selects it' : this.#names.rule(policies.cookie)
      return `allowed ${what} (${rule}; matched by ${MATCHES[policies.match] ?? policies.match})`
    }
    const rule = policies.cookie === 0 ? 'no rule allows it' : this.#names.rule(policies.cookie)
    const audited = verdict >= 0 ? '; let through by audit mode' : ''
    return `denied ${what} (${rule}${audited})`
  }

  #outcomeNotes(ctx: PacketContext, verdict: Verdict): string[] {
    if (verdict === Verdict.REDIRECT) {
      const name = endpointNameOfPort(this.#maps, this.#names, ctx.egressPort)
      const device = deviceOf(this.#maps, ctx.egressPort)
      return [`leaves by port ${ctx.egressPort}, ${name} (${device})`]
    }
    if (verdict >= 0) return []
    return [`dropped: ${-verdict} ${dropReasonName(-verdict)}: ${dropReasonText(-verdict)}`]
  }
}

/** With the reason for which nothing leaves by it, if there is one: no stage knows of that. */
function deviceOf({ ports }: DatapathMaps, port: number): string {
  const errno = ports.failure(port)
  if (errno === 0) return ports.device(port)
  return `${ports.device(port)}, not attached: ${getSystemErrorName(-errno)}, so it is lost`
}

function changeNotes(before: Snapshot, after: Snapshot): string[] {
  const notes: string[] = []
  if (before.flow !== after.flow) notes.push(`rewritten: ${before.flow} became ${after.flow}`)
  if (before.ttl !== after.ttl && after.ttl >= 0) notes.push(`TTL ${before.ttl} → ${after.ttl}`)
  if (before.macs !== after.macs) notes.push(`MAC addresses ${after.macs}`)
  if (after.tunnel !== before.tunnel && after.tunnel !== '') notes.push(`tunnel to ${after.tunnel}`)
  return notes
}

function outcomeOf(ctx: PacketContext, verdict: Verdict): string {
  if (verdict === Verdict.CONTINUE) return `→ ${stageName(ctx.nextStage)}`
  if (verdict === Verdict.REDIRECT) return 'forward'
  return verdict < 0 ? 'drop' : 'done'
}
