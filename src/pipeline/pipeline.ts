/**
 * The chain, over a burst: parse and hash all frames, touch their connections' cache lines, then
 * run each through its stages (docs/life-of-a-packet.md). The one dispatch is here, and so is the
 * one place where a drop is counted and told.
 */

import { assert } from '../base/assert.js'
import { Endpoint, PortKind } from '../endpoint/endpoint-table.js'
import { ObservationPoint } from '../monitor/event.js'
import { TimedPass } from '../monitor/worker-statistics.js'
import { type Burst, NO_PORT } from '../packet/burst.js'
import { DropReason } from '../packet/drop-reason.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import { Direction, Verdict } from '../packet/verdict.js'
import { PacketContext } from './context.js'
import { FromContainer } from './entry/from-container.js'
import { FromHost } from './entry/from-host.js'
import { FromNetdev } from './entry/from-netdev.js'
import { FlowLane } from './flow-lane.js'
import type { FlowNews } from './flow-news.js'
import { FRAME_WORDS, Frame, FrameTable } from './frame-table.js'
import { IcmpAnswer } from './icmp-answer.js'
import { ENTRY, type PipelineObserver } from './observer.js'
import type { PacketTap } from './packet-tap.js'
import { parseFrames } from './parse.js'
import type { DatapathState } from './stage.js'
import type { StageTimer } from './stage-timer.js'
import { ArpResponder } from './stages/arp-responder.js'
import { CtLookup } from './stages/ct-lookup.js'
import { Ipv4FragmentationNeeded } from './stages/fragmentation-needed.js'
import { Ipv4FromHost } from './stages/from-host.js'
import { Ipv4FromLxc } from './stages/from-lxc.js'
import { Ipv4FromLxcCont } from './stages/from-lxc-cont.js'
import { Ipv4FromNetdev } from './stages/from-netdev.js'
import { Ipv4FromOverlay } from './stages/from-overlay.js'
import { Ipv4NoService } from './stages/no-service.js'
import { NodePortNatEgress } from './stages/nodeport-nat-egress.js'
import { NodePortNatFwd } from './stages/nodeport-nat-fwd.js'
import { NodePortNatIngress } from './stages/nodeport-nat-ingress.js'
import { NodePortRevNat } from './stages/nodeport-revnat.js'
import { NodePortSnatFwd } from './stages/nodeport-snat-fwd.js'
import { Ipv4PolicyDenied } from './stages/policy-denied.js'
import { Ipv4TimeExceeded } from './stages/time-exceeded.js'
import { Ipv4ToEndpoint } from './stages/to-endpoint.js'
import { Ipv4ToHost } from './stages/to-host.js'
import { ToOverlay } from './stages/to-overlay.js'
import { TAIL_CALLS_MAX, TailCall } from './tail-call.js'
import { beginPacket, undoPacket } from './undo.js'

export interface PipelineOptions {
  /** False: each packet takes the whole chain, to see what it decides. */
  readonly repeatsFlows?: boolean
  /**
   * For established flows, over the packets' memory; it begins anew. One of its own unless given: its
   * code is fastest as long as a thread has but one (lane-passes.ts).
   */
  readonly lane?: FlowLane | undefined
  /** Of a datapath with several workers. */
  readonly news?: FlowNews | undefined
  /** Samples the time of stages; nobody unless given. */
  readonly timer?: StageTimer
}

export class Pipeline {
  readonly #state: DatapathState
  readonly #table: FrameTable
  readonly #ctx: PacketContext
  readonly #lane: FlowLane
  readonly #timer: StageTimer | null
  /** Of a capture that is on. */
  #tap: PacketTap | null = null

  readonly #fromContainer: FromContainer
  readonly #fromHost: FromHost
  readonly #fromNetdev: FromNetdev
  readonly #arpResponder: ArpResponder
  readonly #ipv4FromLxc: Ipv4FromLxc
  readonly #ipv4CtEgress: CtLookup
  readonly #ipv4FromLxcCont: Ipv4FromLxcCont
  readonly #ipv4CtIngress: CtLookup
  readonly #ipv4ToEndpoint: Ipv4ToEndpoint
  readonly #ipv4ToHost: Ipv4ToHost
  readonly #ipv4FromHost: Ipv4FromHost
  readonly #ipv4NoService: Ipv4NoService
  readonly #ipv4PolicyDenied: Ipv4PolicyDenied
  readonly #ipv4TimeExceeded: Ipv4TimeExceeded
  readonly #ipv4FragmentationNeeded: Ipv4FragmentationNeeded
  readonly #ipv4FromNetdev: Ipv4FromNetdev
  readonly #nodePortNatEgress: NodePortNatEgress
  readonly #nodePortNatFwd: NodePortNatFwd
  readonly #nodePortNatIngress: NodePortNatIngress
  readonly #nodePortRevNat: NodePortRevNat
  readonly #nodePortSnatFwd: NodePortSnatFwd
  readonly #toOverlay: ToOverlay
  readonly #ipv4FromOverlay: Ipv4FromOverlay

  /** Told of every stage; for `trace`, never on a node's own traffic. */
  observer: PipelineObserver | null = null
  /** Sum of the words that pass two touched; kept so that no compiler may drop the loads. */
  touched = 0

  constructor(
    state: DatapathState,
    packet: PacketBuffer,
    burstCapacity: number,
    options: PipelineOptions = {},
  ) {
    this.#state = state
    this.#timer = options.timer ?? null
    this.#table = new FrameTable(burstCapacity)
    this.#ctx = new PacketContext(packet, this.#table)
    const flows = options.repeatsFlows === false ? 0 : state.conntrack.capacity
    this.#lane = options.lane ?? new FlowLane(packet, burstCapacity, flows)
    assert(this.#lane.fits(packet), 'a lane over other memory than the packets’')
    this.#lane.serve(state, options.news)
    this.#fromContainer = new FromContainer(state)
    this.#fromHost = new FromHost(state)
    this.#fromNetdev = new FromNetdev(state)
    this.#arpResponder = new ArpResponder(state)
    this.#ipv4FromLxc = new Ipv4FromLxc(state)
    this.#ipv4CtEgress = new CtLookup(state, Direction.EGRESS, TailCall.IPV4_FROM_LXC_CONT)
    this.#ipv4FromLxcCont = new Ipv4FromLxcCont(state)
    this.#ipv4CtIngress = new CtLookup(state, Direction.INGRESS, TailCall.IPV4_TO_ENDPOINT)
    this.#ipv4ToEndpoint = new Ipv4ToEndpoint(state)
    this.#ipv4ToHost = new Ipv4ToHost(state)
    this.#ipv4FromHost = new Ipv4FromHost(state)
    const answer = new IcmpAnswer(state)
    this.#ipv4NoService = new Ipv4NoService(state, answer)
    this.#ipv4PolicyDenied = new Ipv4PolicyDenied(state, answer)
    this.#ipv4TimeExceeded = new Ipv4TimeExceeded(state, answer)
    this.#ipv4FragmentationNeeded = new Ipv4FragmentationNeeded(state, answer)
    this.#ipv4FromNetdev = new Ipv4FromNetdev(state)
    this.#nodePortNatEgress = new NodePortNatEgress(state)
    this.#nodePortNatFwd = new NodePortNatFwd(state)
    this.#nodePortNatIngress = new NodePortNatIngress(state)
    this.#nodePortRevNat = new NodePortRevNat(state)
    this.#nodePortSnatFwd = new NodePortSnatFwd(state)
    this.#toOverlay = new ToOverlay(state)
    this.#ipv4FromOverlay = new Ipv4FromOverlay(state)
  }

  /** Decides on every frame of the burst and writes the decision into it. */
  run(burst: Burst): void {
    const ctx = this.#ctx
    ctx.nowSeconds = burst.nowSeconds
    ctx.nowNanoseconds = burst.nowNanoseconds
    if (this.#tap !== null) {
      this.#runTapped(burst, this.#tap)
      return
    }
    if (this.#timer?.countBurst() === true) {
      this.#runTimed(burst, this.#timer)
      return
    }
    const lane = this.#lane
    lane.run(burst)
    if (lane.restCount > 0) this.#runRest(burst, lane.rest, lane.restCount)
  }

  /** @param rest indexes of the frames that take the chain */
  #runRest(burst: Burst, rest: Int32Array, restCount: number): void {
    const ctx = this.#ctx
    parseFrames(burst, rest, restCount, ctx.packet, this.#table, this.#state.conntrack.seed)
    this.#touchConnections(rest, restCount)
    for (let n = 0; n < restCount; n++) this.#runFrame(burst, rest[n] as number)
    this.#lane.endBurst()
  }

  /** The same, timed: each pass, and the stages of one packet in the midst of the burst. */
  #runTimed(burst: Burst, timer: StageTimer): void {
    const ctx = this.#ctx
    const lane = this.#lane
    timer.start()
    lane.run(burst)
    timer.took(TimedPass.LANE, burst.count)
    const { rest, restCount } = lane
    if (restCount === 0) return
    parseFrames(burst, rest, restCount, ctx.packet, this.#table, this.#state.conntrack.seed)
    timer.took(TimedPass.PARSE, restCount)
    this.#touchConnections(rest, restCount)
    timer.took(TimedPass.TOUCH, restCount)
    const timed = restCount >> 1
    for (let n = 0; n < restCount; n++) {
      this.observer = n === timed ? timer : null
      this.#runFrame(burst, rest[n] as number)
    }
    this.observer = null
    lane.endBurst()
  }

  /** The same while a capture is on. */
  #runTapped(burst: Burst, tap: PacketTap): void {
    const lane = this.#lane
    tap.arrive(burst)
    if (tap.needsChain) lane.leaveAll(burst.count)
    else {
      lane.run(burst)
      tap.carried(burst, lane.rest, lane.restCount)
    }
    this.#runRest(burst, lane.rest, lane.restCount)
    tap.flush()
  }

  /** Copies of frames go to `tap` from the next burst on; null ends that. */
  set tap(tap: PacketTap | null) {
    this.#tap = tap
    this.observer = tap?.needsChain === true ? tap : null
  }

  /** Frames that the flow lane carried, of all since the start. */
  get framesRepeated(): number {
    return this.#lane.repeated
  }

  /** Housekeeping between bursts. */
  step(): void {
    this.#lane.step()
  }

  /** Brings the connections' counters up to date; for a clean stop, and for tests. */
  settle(): void {
    this.#lane.settleAll()
  }

  #touchConnections(indexes: Int32Array, count: number): void {
    const words = this.#table.words
    const conntrack = this.#state.conntrack
    let sum = 0
    for (let n = 0; n < count; n++) {
      const row = (indexes[n] as number) * FRAME_WORDS
      sum = (sum + conntrack.touch(words[row + Frame.HASH] as number)) | 0
    }
    this.touched = sum
  }

  #runFrame(burst: Burst, index: number): void {
    const ctx = this.#ctx
    ctx.packet.attach(burst.starts[index] as number, burst.lengths[index] as number)
    ctx.load(index, burst.ports[index] as number)
    beginPacket(this.#state)
    this.#tap?.begin(index)
    const verdict = this.#chain(ctx)
    this.#tap?.end(ctx, verdict)
    if (verdict === Verdict.REDIRECT) {
      this.#forward(burst, index)
      return
    }
    burst.ports[index] = NO_PORT
    if (verdict >= 0) return
    undoPacket(this.#state)
    this.#state.monitor.drop(ctx, -verdict)
  }

  #forward(burst: Burst, index: number): void {
    const ctx = this.#ctx
    const { start, length } = ctx.packet
    this.#lane.learn(ctx, index, burst.starts[index] as number, burst.lengths[index] as number)
    burst.starts[index] = start
    burst.lengths[index] = length
    burst.ports[index] = ctx.egressPort
    const monitor = this.#state.monitor
    monitor.forwarded(ctx)
    if (!ctx.isMonitored) return
    // Told only here, for nobody knows earlier whether an event of the flow is due.
    if (ctx.isFromTunnel) monitor.trace(ctx, ObservationPoint.FROM_OVERLAY)
    monitor.trace(ctx, this.#observationPoint())
  }

  #observationPoint(): ObservationPoint {
    const ctx = this.#ctx
    if (ctx.isToTunnel) return ObservationPoint.TO_OVERLAY
    const kind = this.#state.endpoints.kind(ctx.egressPort)
    if (kind === PortKind.HOST) return ObservationPoint.TO_STACK
    return kind === PortKind.UPLINK ? ObservationPoint.TO_NETWORK : ObservationPoint.TO_ENDPOINT
  }

  /** The chain of tail calls; a bound on their number ends a loop of stages. */
  #chain(ctx: PacketContext): Verdict {
    if (this.observer !== null) return this.#observedChain(ctx, this.observer)
    let verdict = this.#enter(ctx)
    for (let calls = 0; verdict === Verdict.CONTINUE; calls++) {
      if (calls === TAIL_CALLS_MAX) return DropReason.MISSED_TAIL_CALL
      verdict = this.#call(ctx)
    }
    return verdict
  }

  /** The same, for who wants to see each step. */
  #observedChain(ctx: PacketContext, observer: PipelineObserver): Verdict {
    observer.begins(ctx)
    let verdict = this.#enter(ctx)
    observer.passed(ctx, ENTRY, verdict)
    for (let calls = 0; verdict === Verdict.CONTINUE; calls++) {
      if (calls === TAIL_CALLS_MAX) return DropReason.MISSED_TAIL_CALL
      const stage = ctx.nextStage
      verdict = this.#call(ctx)
      observer.passed(ctx, stage, verdict)
    }
    return verdict
  }

  #enter(ctx: PacketContext): Verdict {
    const endpoints = this.#state.endpoints
    const row = endpoints.rowStart(ctx.ingressPort)
    switch (endpoints.words[row + Endpoint.KIND]) {
      case PortKind.POD:
        return this.#fromContainer.process(ctx)
      case PortKind.HOST:
        return this.#fromHost.process(ctx)
      case PortKind.UPLINK:
        return this.#fromNetdev.process(ctx)
      default:
        return DropReason.NO_CONFIG
    }
  }

  #call(ctx: PacketContext): Verdict {
    switch (ctx.nextStage) {
      case TailCall.ARP:
        return this.#arpResponder.process(ctx)
      case TailCall.IPV4_FROM_LXC:
        return this.#ipv4FromLxc.process(ctx)
      case TailCall.IPV4_CT_EGRESS:
        return this.#ipv4CtEgress.process(ctx)
      case TailCall.IPV4_FROM_LXC_CONT:
        return this.#ipv4FromLxcCont.process(ctx)
      case TailCall.IPV4_CT_INGRESS:
        return this.#ipv4CtIngress.process(ctx)
      case TailCall.IPV4_TO_ENDPOINT:
        return this.#ipv4ToEndpoint.process(ctx)
      case TailCall.IPV4_FROM_HOST:
        return this.#ipv4FromHost.process(ctx)
      case TailCall.IPV4_NO_SERVICE:
        return this.#ipv4NoService.process(ctx)
      case TailCall.IPV4_POLICY_DENIED:
        return this.#ipv4PolicyDenied.process(ctx)
      case TailCall.TIME_EXCEEDED:
        return this.#ipv4TimeExceeded.process(ctx)
      case TailCall.IPV4_FRAGMENTATION_NEEDED:
        return this.#ipv4FragmentationNeeded.process(ctx)
      case TailCall.IPV4_FROM_NETDEV:
        return this.#ipv4FromNetdev.process(ctx)
      case TailCall.NODEPORT_NAT_EGRESS:
        return this.#nodePortNatEgress.process(ctx)
      case TailCall.NODEPORT_NAT_FWD:
        return this.#nodePortNatFwd.process(ctx)
      case TailCall.NODEPORT_NAT_INGRESS:
        return this.#nodePortNatIngress.process(ctx)
      case TailCall.NODEPORT_REVNAT:
        return this.#nodePortRevNat.process(ctx)
      case TailCall.NODEPORT_SNAT_FWD:
        return this.#nodePortSnatFwd.process(ctx)
      case TailCall.IPV4_TO_HOST:
        return this.#ipv4ToHost.process(ctx)
      case TailCall.TO_OVERLAY:
        return this.#toOverlay.process(ctx)
      case TailCall.IPV4_FROM_OVERLAY:
        return this.#ipv4FromOverlay.process(ctx)
      default:
        return DropReason.MISSED_TAIL_CALL
    }
  }
}
