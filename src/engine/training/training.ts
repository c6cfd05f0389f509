/**
 * Warm start: runs synthetic frames through a pipeline on maps of its own before a port is attached,
 * until V8 has compiled the packet path with knowledge of every branch. Cold code takes ten times as
 * long for the first ten thousand packets, and the first packet that takes a branch for which there
 * is no code yet throws the compiled code of the whole way out (docs/adr/0017).
 *
 * V8 keeps what it learns with the functions, not with the objects: another pipeline of the same
 * thread profits. Nothing of the real node is touched: no map, no counter, no event, no port.
 */
import { performance } from 'node:perf_hooks'
import { BURST_CAPACITY, BURST_RECEIVE_MAX } from '../../base/limits.js'
import { ConntrackGc } from '../../conntrack/ct-gc.js'
import { NatGc } from '../../nat/nat-gc.js'
import { Burst, NO_PORT } from '../../packet/burst.js'
import { PacketBuffer } from '../../packet/packet-buffer.js'
import type { DatapathMaps } from '../../pipeline/datapath-maps.js'
import { Pipeline } from '../../pipeline/pipeline.js'
import { StageTimer } from '../../pipeline/stage-timer.js'
import type { FrameExchange } from '../../port/port.js'
import * as ethernet from '../../wire/ethernet.js'
import * as icmpv4 from '../../wire/icmpv4.js'
import * as ipv4 from '../../wire/ipv4.js'
import { EtherType, Protocol } from '../../wire/protocols.js'
import * as tcp from '../../wire/tcp.js'
import { BurstLoop, type Housekeeping } from '../burst-loop.js'
import { IDLE_DEFAULTS, IdleStrategy } from '../idle-strategy.js'
import type { WorkerMemory } from '../worker-memory.js'
import { WorkerMeter } from '../worker-meter.js'
import { CompilerWatch } from './compiler-watch.js'
import { TrainingExchange } from './training-exchange.js'
import { Answer, FrameWriter, L3, L4, TcpFlag, type TrainingFrame } from './training-frames.js'
import { TUNNEL_PORT, trainingMaps } from './training-node.js'

export interface TrainingOptions {
  /** It begins no round after so many, whatever there is left to compile; 6000 unless given. */
  readonly millisecondsMax?: number
  /** It ends after so many rounds; 2000 unless given. */
  readonly roundsMax?: number
  /** Of the worker, without ports; memory of its own unless given. */
  readonly memory?: WorkerMemory
}

export interface TrainingReport {
  readonly frames: number
  readonly milliseconds: number
  readonly rounds: number
}

const MILLISECONDS_MAX = 6000
/**
 * Nodes that are built and forgotten before: V8 takes what is in a field for the only kind there is
 * until it sees a second, and throws out the code that relied on it; the real node would be that second.
 */
const REHEARSALS = 2
/** V8 notes nothing of a function's first calls. */
const REHEARSAL_ROUNDS = 8
const ROUNDS_MAX = 2000
/**
 * One round in so many is of rare frames: V8 inlines what is frequent, as on a real node. At first it
 * is every other one, so that the first code compiled knows of them.
 */
const RARE_EVERY = 8
const ROUNDS_AT_FIRST = 8
/** Packets of one flow after its first. */
const FURTHER_PACKETS = 2
const ROUNDS_PER_PAUSE = 3
const PAUSES_SECONDS = [1, 9]
/** The idle worker spins, and sleeps. */
const BRIEF_REST = { spinExchanges: 2, sleepMilliseconds: 0 }
const FIRST_SECOND = 1000
/** Rounds to a second of the training's clock, so that lifetimes, reports and sweeps come round. */
const ROUNDS_PER_SECOND = 2
/** Without frames, of each round: the sweeps. */
const IDLE_TURNS = 4
const NOTHING_COUNTED = { frames: 0, bursts: 0, repeated: 0, sleeps: 0 }
/** Rounds between two looks at the compiler. */
const ROUNDS_PER_LOOK = 8
/** Stages are timed more often than on a node, so that this is trained, too. */
const BURSTS_PER_SAMPLE = 16
/**
 * A node has tasks of more kinds than the four that V8 tells apart at one call: with these there are
 * more here as well.
 */
const OTHER_TASKS: readonly Housekeeping[] = [
  { step() {} },
  { step() {}, hasMore: false },
  { hasMore: false, step() {} },
]
/** So few flows that were not heard of for some seconds are learned again: others are renewed. */
const RELEARNED_PER_MILLISECOND = 1
/** Of memory of its own. */
const STRIDE_BYTES = 2048
const HEADROOM_BYTES = 256
/** Frames of the burst, and one place to write the templates. */
const FRAMES = BURST_CAPACITY + 1
const PORT_FIRST = 32_768
const PORT_MASK = 0x7fff
const TCP_FLAGS = 13
const VXLAN_HEADERS = 50
/** Odd, so that neighbouring copies have distant ports. */
const PORT_STEP = 7919

/** A worker's training: before it tells that it stands by, or else before it attaches its ports. */
export function trainWorker(log: (line: string) => void, memory: WorkerMemory): void {
  const { frames, milliseconds } = trainPipeline({ memory })
  log(`code trained with ${frames} frames in ${Math.round(milliseconds)} ms`)
}

/**
 * Trains the code of this thread until V8 has nothing left to compile, which takes it two to four
 * seconds of a processor; a start does not wait for all of it.
 */
export function trainPipeline(options: TrainingOptions = {}): TrainingReport {
  const begin = performance.now()
  const deadline = begin + (options.millisecondsMax ?? MILLISECONDS_MAX)
  const roundsMax = options.roundsMax ?? ROUNDS_MAX
  const { memory } = options
  for (let i = 0; i < REHEARSALS; i++) rehearse(memory)
  const training = new Training(trainingMaps(), memory)
  const compiler = new CompilerWatch()
  let rounds = 0
  while (rounds < roundsMax && performance.now() < deadline && !compiler.isQuiet) {
    training.round(rounds++)
    if (rounds % ROUNDS_PER_LOOK === 0) compiler.look()
  }
  return { frames: training.frames, milliseconds: performance.now() - begin, rounds }
}

function rehearse(memory?: WorkerMemory): void {
  const training = new Training(trainingMaps(), memory)
  for (let round = 0; round < REHEARSAL_ROUNDS; round++) training.round(round)
}

/** One training's pipeline and frames; `trainPipeline` is for use, this for tests. */
export class Training {
  readonly #maps: DatapathMaps
  readonly #pipeline: Pipeline
  readonly #packet: PacketBuffer
  readonly #words: Int32Array
  readonly #burst: Burst
  readonly #strideBytes: number
  /** What each frame of the burst was made of. */
  readonly #made: TrainingFrame[] = []
  readonly #ordinary: readonly TrainingFrame[]
  readonly #rare: readonly TrainingFrame[]
  readonly #exchange: TrainingExchange
  readonly #loop: BurstLoop
  readonly #emptyLoop: BurstLoop | undefined
  #nextPort = 0
  #now = FIRST_SECOND
  /** Seconds that went by between packets of one flow. */
  #pauses = 0

  /** Frames that went through the pipeline. */
  frames = 0

  /** @param memory of the worker, whose frames are all free: its code is met, too */
  constructor(maps: DatapathMaps, memory?: WorkerMemory) {
    this.#maps = maps
    const strideBytes = memory?.exchange.stride ?? STRIDE_BYTES
    const umem = memory?.exchange.umem ?? new SharedArrayBuffer(FRAMES * strideBytes)
    this.#strideBytes = strideBytes
    this.#burst = memory?.burst ?? new Burst(BURST_CAPACITY)
    this.#packet = new PacketBuffer(umem, strideBytes)
    this.#words = this.#packet.memoryWords
    const state = maps.stateFor(0)
    const shared = { cells: maps.workerStatistics.row(0), rings: maps.portRings.row(0) }
    const cells = new Float64Array(shared.cells.length)
    const timer = new StageTimer(cells, BURSTS_PER_SAMPLE)
    const packet = new PacketBuffer(umem, strideBytes)
    const lane = memory?.lane
    this.#pipeline = new Pipeline(state, packet, BURST_CAPACITY, { timer, lane })
    if (lane !== undefined) lane.relearnedMax = RELEARNED_PER_MILLISECOND
    const conntrackGc = new ConntrackGc(maps.conntrackTable)
    const natGc = new NatGc(state.nat, maps.conntrackTable, conntrackGc)
    const own = [conntrackGc, natGc, new ConntrackGc(maps.fragmentsMap), this.#pipeline]
    const housekeeping = [...own, ...OTHER_TASKS]
    this.#exchange = new TrainingExchange(umem, strideBytes)
    const idle = new IdleStrategy({ ...IDLE_DEFAULTS, ...BRIEF_REST })
    const loopOver = (exchange: FrameExchange): BurstLoop =>
      new BurstLoop(exchange, this.#pipeline, idle, housekeeping, this.#burst)
    this.#loop = loopOver(this.#exchange)
    this.#loop.meter = new WorkerMeter(this.#exchange, cells, shared, () => NOTHING_COUNTED)
    this.#emptyLoop = memory && loopOver(memory.exchange)
    memory?.exchange.begin(this.#burst)
    const writer = new FrameWriter(this.#packet, BURST_CAPACITY * strideBytes + HEADROOM_BYTES)
    this.#ordinary = writer.ordinary()
    this.#rare = writer.rare()
  }

  /** Of those, the flow lane's. */
  get framesRepeated(): number {
    return this.#pipeline.framesRepeated
  }

  /** New flows, their answers, further packets of both directions, and their ends. */
  round(number: number): void {
    this.#now = FIRST_SECOND + this.#pauses + Math.floor(number / ROUNDS_PER_SECOND)
    const every = number < ROUNDS_AT_FIRST ? 2 : RARE_EVERY
    const kinds = number % every === 0 ? this.#rare : this.#ordinary
    const firstPort = this.#nextPort
    this.#send(kinds, firstPort, TcpFlag.SYN)
    for (let i = 0; i < FURTHER_PACKETS; i++) this.#send(kinds, firstPort, TcpFlag.ACK)
    if (number % ROUNDS_PER_PAUSE === 0) this.#pause(kinds, firstPort)
    const end = number % 2 === 0 ? TcpFlag.FIN | TcpFlag.ACK : TcpFlag.RST
    this.#send(kinds, firstPort, end)
    this.#nextPort = (firstPort + PORT_STEP) & PORT_MASK
    this.#collect()
  }

  /** First short, then so long that the lane learns the flows again and tells what it has counted. */
  #pause(kinds: readonly TrainingFrame[], firstPort: number): void {
    for (const seconds of PAUSES_SECONDS) {
      this.#pauses += seconds
      this.#now += seconds
      this.#send(kinds, firstPort, TcpFlag.ACK)
    }
  }

  /** One packet of each flow, and what comes back. */
  #send(kinds: readonly TrainingFrame[], firstPort: number, flags: number): void {
    this.#fill(kinds, firstPort, flags)
    this.#run()
    if (this.#turnRound(flags)) this.#run()
  }

  #run(): void {
    this.frames += this.#burst.count
    this.#exchange.offer(this.#burst.count, this.#now)
    this.#loop.turn()
  }

  #collect(): void {
    for (let i = 0; i < IDLE_TURNS; i++) {
      this.#exchange.offer(0, this.#now)
      this.#loop.turn()
      this.#emptyLoop?.turn()
    }
    // Nobody reads the events; a ring that is full is a way of its own.
    if (this.#now % 2 === 0) this.#maps.events.rings[0]?.skip()
  }

  #fill(kinds: readonly TrainingFrame[], firstPort: number, flags: number): void {
    const { starts, lengths, ports } = this.#burst
    const packet = this.#packet
    this.#made.length = 0
    for (let i = 0; i < BURST_RECEIVE_MAX; i++) {
      const frame = kinds[i % kinds.length] as TrainingFrame
      const start = i * this.#strideBytes + HEADROOM_BYTES
      this.#words.set(frame.words, start >> 2)
      packet.attach(start, frame.bytes)
      const { sourcePortOffset, tcpOffset } = frame
      const port = PORT_FIRST + ((firstPort + i) & PORT_MASK)
      if (sourcePortOffset !== 0) packet.setU16(sourcePortOffset, port)
      if (tcpOffset !== 0) packet.setU8(tcpOffset + TCP_FLAGS, flags)
      starts[i] = start
      lengths[i] = frame.bytes
      ports[i] = frame.port
      this.#made.push(frame)
    }
    this.#burst.count = BURST_RECEIVE_MAX
  }

  /** The burst becomes the answers to what was forwarded; false when there is none. */
  #turnRound(flags: number): boolean {
    const { starts, lengths, ports } = this.#burst
    const packet = this.#packet
    let count = 0
    for (let i = 0; i < BURST_RECEIVE_MAX; i++) {
      const answer = this.#made[i]?.answer ?? Answer.NONE
      const port = ports[i] as number
      if (port === NO_PORT || answer === Answer.NONE) continue
      packet.attach(starts[i] as number, lengths[i] as number)
      if (ethernet.type(packet, 0) !== EtherType.IPV4) continue
      if (answer === Answer.REPLY) turnIntoReply(packet, flags)
      else if (!turnIntoError(packet)) continue
      starts[count] = packet.start
      lengths[count] = packet.length
      ports[count] = port
      count++
    }
    this.#burst.count = count
    return count > 0
  }
}

/** To where it came from, inside of an envelope too. */
function turnIntoReply(p: PacketBuffer, flags: number): void {
  turnFlow(p, 0, flags)
  const isUdp = ipv4.protocol(p, L3) === Protocol.UDP
  if (!isUdp || p.u16(L4 + 2) !== TUNNEL_PORT) return
  // The other end sends to the same port.
  p.setU16(L4, TUNNEL_PORT)
  p.setU16(L4 + 2, TUNNEL_PORT)
  turnFlow(p, VXLAN_HEADERS, flags)
}

/** @param at where its Ethernet header begins */
function turnFlow(p: PacketBuffer, at: number, flags: number): void {
  const l3 = at + L3
  const l4 = at + L4
  const source = ipv4.source(p, l3)
  ipv4.setSource(p, l3, ipv4.destination(p, l3))
  ipv4.setDestination(p, l3, source)
  const protocol = ipv4.protocol(p, l3)
  if (protocol === Protocol.ICMPV4) {
    if (icmpv4.type(p, l4) === icmpv4.Type.ECHO_REQUEST) icmpv4.turnIntoReply(p, l4)
    return
  }
  const sourcePort = p.u16(l4)
  if (at === 0 && protocol === Protocol.UDP && p.u16(l4 + 2) === TUNNEL_PORT) return
  p.setU16(l4, p.u16(l4 + 2))
  p.setU16(l4 + 2, sourcePort)
  if (protocol === Protocol.TCP) tcp.setFlags(p, l4, flags | TcpFlag.ACK)
}

/** "Port unreachable", from whom it was sent to. */
function turnIntoError(p: PacketBuffer): boolean {
  const { DESTINATION_UNREACHABLE } = icmpv4.Type
  const { PORT } = icmpv4.Unreachable
  return icmpv4.encloseInError(p, DESTINATION_UNREACHABLE, PORT, 0, ipv4.destination(p, L3))
}
