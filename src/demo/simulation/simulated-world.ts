/**
 * The demonstration without root and without AF_XDP: the same maps, controller, pipeline and burst
 * loop, in this process, with simulated pods on memory ports. What it cannot show is speed: the
 * pods' work is done by the same thread.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../base/clock.js'
import { BURST_CAPACITY } from '../../base/limits.js'
import { NodeController } from '../../daemon/node-controller.js'
import { BurstLoop } from '../../engine/burst-loop.js'
import { IDLE_DEFAULTS, IdleStrategy } from '../../engine/idle-strategy.js'
import { StatisticsPublisher } from '../../engine/statistics-publisher.js'
import { PacketBuffer } from '../../packet/packet-buffer.js'
import { DatapathMaps } from '../../pipeline/datapath-maps.js'
import { Pipeline } from '../../pipeline/pipeline.js'
import { MemoryPort } from '../../port/memory-port.js'
import { SoftwareExchange } from '../../port/software-exchange.js'
import { MAP_SIZES } from '../map-sizes.js'
import { bulkWindow, type Program } from '../program.js'
import { type ProgramSet, programSet } from '../program-set.js'
import { bitRate } from '../text.js'
import { CLIENT, ECHO, INTRUDER, NODE, PODS, ServerPort, WEB } from '../topology.js'
import type { World, WorldEnd } from '../world.js'
import { SimulatedPod, type Transfer } from './simulated-pod.js'
import { type Schedule, SimulatedProgram } from './simulated-program.js'

const NODE_MAC = '02:00:00:00:ff:01'
const HOST_MAC = '02:00:00:00:ff:02'
const podMac = (id: number): string => `02:00:00:00:00:${id.toString(16).padStart(2, '0')}`

const FRAME_COUNT = 2048
const QUEUE_FRAMES_MAX = 512
const PAGE_BYTES = 3000
const REQUEST_BYTES = 80
const STEP_MILLISECONDS = 2
/** Times that frames go round within a step; bounds what a bulk transfer may take. */
const ROUNDS_MAX = 16

export class SimulatedWorld implements World {
  readonly isSimulated = true
  readonly facts = 'simulation: pipeline and pods in one process, memory ports'
  readonly commands = []
  readonly problem = undefined
  readonly maps = DatapathMaps.inMemory(MAP_SIZES)
  readonly clock: Clock
  readonly portNames = new Map<number, string>()
  readonly #exchange: SoftwareExchange
  readonly #loop: BurstLoop
  readonly #publisher: StatisticsPublisher
  readonly #pods = new Map<string, SimulatedPod>()
  readonly #set: ProgramSet = programSet()
  #running: readonly SimulatedProgram[] = []
  #end: WorldEnd | undefined

  constructor(clock: Clock) {
    this.clock = clock
    this.#exchange = new SoftwareExchange([], { clock, frameCount: FRAME_COUNT })
    const controller = new NodeController(this.maps)
    const host = { device: 'ringpath_net', addresses: [NODE.address], mac: HOST_MAC }
    const hostPort = controller.addHost({ ...host, nodeMac: NODE_MAC })
    this.#place(hostPort, NODE.name, NODE.address, HOST_MAC)
    for (const { name, id, identity, address, policy } of PODS) {
      const mac = podMac(id)
      const spec = { id, identity, address, mac, nodeMac: NODE_MAC, device: `lxc-${name}` }
      this.#place(controller.addEndpoint(spec, policy), name, address, mac)
    }
    const packet = new PacketBuffer(
      this.#exchange.umem,
      this.#exchange.stride,
      this.#exchange.chains,
    )
    const pipeline = new Pipeline(this.maps.stateFor(0), packet, BURST_CAPACITY)
    this.#publisher = new StatisticsPublisher(this.#exchange, this.maps.portStatistics.row(0))
    // Spinning, for a loop that sleeps would stop the pods, which share its thread.
    const idle = new IdleStrategy({ ...IDLE_DEFAULTS, mode: 'spin' })
    this.#loop = new BurstLoop(this.#exchange, pipeline, idle, [])
    this.#serve()
  }

  get programs(): readonly Program[] {
    return Object.values(this.#set)
  }

  /** Frames that reached a pod with a wrong checksum. */
  get badChecksums(): number {
    return [...this.#pods.values()].reduce((sum, pod) => sum + pod.badChecksums, 0)
  }

  async run(signal: AbortSignal, showSeconds: number): Promise<void> {
    this.begin(showSeconds)
    while (!signal.aborted) {
      this.step()
      await sleep(STEP_MILLISECONDS)
    }
  }

  /** Lets the programs start; `step` moves them. */
  begin(showSeconds: number): void {
    const now = this.#now()
    // The first frames are the pods' ARP requests.
    this.#exchangeFrames()
    this.#running = this.#schedules(showSeconds).map((one) => new SimulatedProgram(one, now))
  }

  /** What happens at the present moment of the clock. */
  step(): void {
    const now = this.#now()
    for (const program of this.#running) program.step(now)
    this.#exchangeFrames()
    for (const program of this.#running) program.step(this.#now())
  }

  async stop(): Promise<WorldEnd> {
    if (this.#end !== undefined) return this.#end
    this.#exchangeFrames()
    // Asserts that all frames are free again.
    this.#exchange.close()
    const isRight = this.badChecksums === 0
    const leftBehind = isRight ? [] : [`${this.badChecksums} frames with a wrong checksum`]
    this.#end = { frames: this.#loop.frames, isEveryFrameAccounted: true, leftBehind }
    return this.#end
  }

  #exchangeFrames(): void {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      let frames = this.#loop.turn()
      for (const pod of this.#pods.values()) frames += pod.step()
      if (frames === 0) break
    }
    this.#publisher.publish()
  }

  #now(): number {
    return this.clock.seconds() + this.clock.nanosecondsOfSecond() / 1e9
  }

  #place(port: number, name: string, address: string, mac: string): void {
    const memoryPort = new MemoryPort(name, { queueFramesMax: QUEUE_FRAMES_MAX })
    const placed = this.#exchange.addPort(memoryPort)
    if (placed !== port) throw new Error(`memory port ${name} is ${placed}, not ${port}`)
    this.portNames.set(port, name)
    this.#pods.set(name, new SimulatedPod(memoryPort, address, mac))
  }

  #pod(name: string): SimulatedPod {
    const pod = this.#pods.get(name)
    if (pod === undefined) throw new Error(`there is no pod ${name}`)
    return pod
  }

  #serve(): void {
    const web = this.#pod(WEB.name)
    web.tcpServices.set(ServerPort.HTTP, { answerBytes: PAGE_BYTES, serverCloses: true })
    web.tcpServices.set(ServerPort.IPERF, { answerBytes: 0, serverCloses: false })
    this.#pod(ECHO.name).udpServices.add(ServerPort.ECHO)
  }

  #schedules(showSeconds: number): Schedule[] {
    const { curl, ping, echo, bulk, nodeCurl, intrusion, posing } = this.#set
    const client = this.#pod(CLIENT.name)
    const intruder = this.#pod(INTRUDER.name)
    const node = this.#pod(NODE.name)
    const window = bulkWindow(showSeconds)
    const page = { to: WEB.address, port: ServerPort.HTTP, requestBytes: REQUEST_BYTES }
    const http = { ...page, answerBytes: PAGE_BYTES, serverCloses: true }
    const endless = { requestBytes: Number.MAX_SAFE_INTEGER, answerBytes: 0, serverCloses: false }
    const sink = { ...endless, to: WEB.address, port: ServerPort.IPERF }
    let transfer: Transfer | undefined
    return [
      { program: curl, periodSeconds: 0.3, start: () => client.request(http) },
      { program: ping, periodSeconds: 0.25, start: () => client.ping(WEB.address) },
      {
        program: echo,
        periodSeconds: 1,
        start: () => client.sendDatagram(ECHO.address, ServerPort.ECHO),
      },
      {
        program: bulk,
        periodSeconds: 1,
        firstSeconds: window.startSeconds,
        attemptsMax: 1,
        timeoutSeconds: showSeconds,
        start: () => {
          transfer = client.request(sink)
          return transfer
        },
        finish: { afterSeconds: window.seconds, how: () => transfer?.finish() },
        describe: (seconds) => bitRate(((transfer?.sentBytes ?? 0) * 8) / Math.max(seconds, 1e-3)),
      },
      { program: nodeCurl, periodSeconds: 1, start: () => node.request(http) },
      { program: intrusion, periodSeconds: 1, start: () => intruder.request(http) },
      {
        program: posing,
        periodSeconds: 2,
        start: () => intruder.request({ ...http, from: CLIENT.address }),
      },
    ]
  }
}
