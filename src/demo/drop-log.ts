/**
 * The latest drops in words, from the datapath's event rings; equal ones are told once, with their
 * number.
 */
import { EVENT_WORDS, EventType, EventWord } from '../monitor/event.js'
import type { EventRings } from '../monitor/event-rings.js'
import { dropReasonName } from '../packet/drop-reason.js'
import { formatAddress } from '../wire/address.js'
import { nameOfAddress, nameOfEndpoint, portText } from './topology.js'

export interface DropRecord {
  /** `intruder`; `intruder posing as client` when the source address is another's. */
  readonly from: string
  readonly to: string
  /** `tcp/80`. */
  readonly service: string
  readonly code: number
  readonly name: string
  /** `entering web`, `leaving intruder`. */
  readonly where: string
  /** How often this very drop was seen. */
  readonly times: number
}

const LATEST_MAX = 8
const INGRESS = 1
const PORTS_WORD = EventWord.TUPLE + 8
const PROTOCOL_WORD = EventWord.TUPLE + 9
const DESTINATION_WORD = EventWord.TUPLE + 4

export class DropLog {
  readonly #rings: EventRings
  readonly #portNames: ReadonlyMap<number, string>
  readonly #event = new Int32Array(EVENT_WORDS)
  /** By what makes two drops equal; the latest last. */
  readonly #records = new Map<string, DropRecord>()

  constructor(rings: EventRings, portNames: ReadonlyMap<number, string>) {
    this.#rings = rings
    this.#portNames = portNames
  }

  /** Takes what waits in the rings; at most their capacity, so that a flood does not hold us. */
  drain(): void {
    for (let i = 0; i < this.#rings.capacity && this.#rings.read(this.#event); i++) {
      if (this.#event[EventWord.TYPE] === EventType.DROP) this.#add()
    }
  }

  /** The latest first. */
  get latest(): readonly DropRecord[] {
    return [...this.#records.values()].reverse()
  }

  #add(): void {
    const record = this.#read()
    const key = [record.from, record.to, record.service, record.code].join()
    const times = (this.#records.get(key)?.times ?? 0) + 1
    this.#records.delete(key)
    this.#records.set(key, { ...record, times })
    for (const oldest of this.#records.keys()) {
      if (this.#records.size <= LATEST_MAX) break
      this.#records.delete(oldest)
    }
  }

  #read(): DropRecord {
    const event = this.#event
    const code = event[EventWord.CODE] as number
    const source = formatAddress(event, EventWord.TUPLE)
    const destination = formatAddress(event, DESTINATION_WORD)
    const sender = this.#portNames.get(event[EventWord.INGRESS_PORT] as number) ?? source
    const claimed = nameOfAddress(source) ?? source
    const port = (event[PORTS_WORD] as number) & 0xffff
    const side = event[EventWord.DIRECTION] === INGRESS ? 'entering' : 'leaving'
    return {
      from: claimed === sender ? sender : `${sender} posing as ${claimed}`,
      to: nameOfAddress(destination) ?? destination,
      service: portText(event[PROTOCOL_WORD] as number, port),
      code,
      name: dropReasonName(code),
      where: `${side} ${nameOfEndpoint(event[EventWord.ENDPOINT] as number)}`,
      times: 1,
    }
  }
}
