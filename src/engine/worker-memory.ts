/**
 * What a worker's code is compiled for: the packet memory, the burst and the flow lane. V8 takes their
 * addresses for constants as long as a thread has one of each (docs/adr/0020), so the training runs on
 * the same ones as later the node, and a hand-over puts the other process's packets in their place.
 */
import { allocateMemory } from 'xdp-socket-napi'
import { BURST_CAPACITY } from '../base/limits.js'
import { Burst } from '../packet/burst.js'
import { PacketBuffer } from '../packet/packet-buffer.js'
import { FlowLane } from '../pipeline/flow-lane.js'
import { XskExchange, type XskExchangeOptions } from '../port/xsk-exchange.js'

export class WorkerMemory {
  readonly exchange: XskExchange
  readonly burst = new Burst(BURST_CAPACITY)
  readonly packet: PacketBuffer
  readonly lane: FlowLane

  /**
   * Throws as XskExchange.
   *
   * @param flows that the lane remembers
   */
  constructor(options: XskExchangeOptions, flows: number) {
    const exchange = new XskExchange(options)
    this.exchange = exchange
    this.packet = new PacketBuffer(exchange.umem, exchange.stride, exchange.chains)
    this.lane = new FlowLane(this.packet, BURST_CAPACITY, flows, allocateMemory)
  }
}
