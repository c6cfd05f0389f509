/**
 * Records of a capture as pcapng: an interface for each port, and for each frame a comment that
 * Wireshark shows, of where it was captured and what became of its packet.
 */
import { monotonicTime } from 'xdp-socket-napi'
import { CapturePoint, CaptureRecord, SNAP_BYTES_MAX } from '../monitor/capture.js'
import { dropReasonName, dropReasonText } from '../packet/drop-reason.js'
import { Verdict } from '../packet/verdict.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import type { ByteTaker } from '../port/pcap/byte-sink.js'
import { Direction, LINK_TYPE_ETHERNET } from '../port/pcap/capture.js'
import { PcapngWriter } from '../port/pcap/pcapng-writer.js'
import { endpointNameOfPort } from './endpoint-view.js'
import { connectionName } from './flow.js'
import type { NameBook } from './names.js'
import { stageName } from './stage-names.js'

const NANOSECONDS_PER_SECOND = 1_000_000_000n
const NANOSECONDS_PER_MILLISECOND = 1_000_000n
const DIRECTIONS = ['', 'ingress', 'egress', 'service']

export class CaptureFile {
  readonly #writer: PcapngWriter
  readonly #maps: DatapathMaps
  readonly #names: () => NameBook
  readonly #interfaces = new Map<number, number>()
  readonly #bytes = Buffer.alloc(SNAP_BYTES_MAX + 4)
  /** From the datapath's clock to that of the world. */
  readonly #epochNanoseconds: bigint

  /** @param target a descriptor, from now on the file's to close; or who takes the bytes */
  constructor(target: number | ByteTaker, maps: DatapathMaps, names: () => NameBook) {
    this.#writer = new PcapngWriter(target)
    this.#maps = maps
    this.#names = names
    const { seconds, nanoseconds } = monotonicTime()
    const now = BigInt(seconds) * NANOSECONDS_PER_SECOND + BigInt(nanoseconds)
    this.#epochNanoseconds = BigInt(Date.now()) * NANOSECONDS_PER_MILLISECOND - now
  }

  /** @param lostBefore records that the ring had no room for, just before this one */
  add(record: Int32Array, lostBefore: number): void {
    const word = (index: number): number => record[index] ?? 0
    const at = BigInt(word(CaptureRecord.SECONDS)) * NANOSECONDS_PER_SECOND
    const time = this.#epochNanoseconds + at + BigInt(word(CaptureRecord.NANOSECONDS))
    const length = word(CaptureRecord.CAPTURED_BYTES)
    for (let offset = 0; offset < length; offset += 4) {
      this.#bytes.writeInt32BE(word(CaptureRecord.FRAME + (offset >> 2)), offset)
    }
    const lost = lostBefore === 0 ? [] : [`${lostBefore} captured frames lost before this one`]
    this.#writer.write(
      this.#interfaceOf(word(CaptureRecord.PORT)),
      time,
      this.#bytes.subarray(0, length),
      {
        direction: directionOf(word(CaptureRecord.POINT)),
        originalLength: word(CaptureRecord.FRAME_BYTES),
        comments: [captureComment(record, this.#maps, this.#names()), ...lost],
      },
    )
  }

  flush(): void {
    this.#writer.flush()
  }

  close(): void {
    this.#writer.close()
  }

  #interfaceOf(port: number): number {
    const known = this.#interfaces.get(port)
    if (known !== undefined) return known
    const device = this.#maps.ports.device(port) || `port ${port}`
    const endpoint = endpointNameOfPort(this.#maps, this.#names(), port)
    const name = endpoint.includes(device) ? endpoint : `${device} (${endpoint})`
    const captured = { name, linkType: LINK_TYPE_ETHERNET, snapLength: 0 }
    const index = this.#writer.addInterface(captured)
    this.#interfaces.set(port, index)
    return index
  }
}

function directionOf(point: number): Direction {
  if (point === CapturePoint.INGRESS) return Direction.INBOUND
  return point === CapturePoint.EGRESS ? Direction.OUTBOUND : Direction.UNKNOWN
}

/** "packet 7 at ingress of default/client; FORWARDED to default/web (lxc-web); …" */
export function captureComment(record: Int32Array, maps: DatapathMaps, names: NameBook): string {
  const word = (index: number): number => record[index] ?? 0
  const place = (port: number): string => {
    const device = maps.ports.device(port)
    const name = endpointNameOfPort(maps, names, port)
    return name.includes(device) ? name : `${name} (${device})`
  }
  const port = place(word(CaptureRecord.PORT))
  const where: Readonly<Record<number, string>> = {
    [CapturePoint.INGRESS]: `ingress of ${port}`,
    [CapturePoint.EGRESS]: `egress of ${port}`,
    [CapturePoint.STAGE]: `stage ${stageName(word(CaptureRecord.STAGE))}, came in by ${port}`,
    [CapturePoint.DROP]: `drop, came in by ${port}`,
  }
  const parts = [
    `packet ${word(CaptureRecord.PACKET)} at ${where[word(CaptureRecord.POINT)] ?? '?'}`,
    fateOf(word, place),
  ]
  if (word(CaptureRecord.IS_REPEATED) === 1) {
    parts.push('carried by the flow lane, which repeats what the chain did with its flow')
    return parts.join('; ')
  }
  parts.push(`last stage ${stageName(word(CaptureRecord.LAST_STAGE))}`)
  const side = DIRECTIONS[word(CaptureRecord.DIRECTION)] ?? ''
  const whose = names.endpoint(word(CaptureRecord.ENDPOINT))
  if (side !== '') parts.push(whose === '' ? side : `${side} of ${whose}`)
  parts.push(`connection ${connectionName(word(CaptureRecord.CT_RESULT))}`)
  const rule = names.rule(word(CaptureRecord.RULE_COOKIE))
  if (rule !== '') parts.push(`rule ${rule}`)
  const who = (identity: number): string => {
    const labels = names.identity(identity)
    return labels === '' ? `${identity}` : `${identity} (${labels})`
  }
  const from = who(word(CaptureRecord.SOURCE_IDENTITY))
  const to = who(word(CaptureRecord.DESTINATION_IDENTITY))
  return [...parts, `identity ${from} to ${to}`].join('; ')
}

function fateOf(word: (index: number) => number, place: (port: number) => string): string {
  const verdict = word(CaptureRecord.VERDICT)
  if (verdict === Verdict.REDIRECT) return `FORWARDED to ${place(word(CaptureRecord.EGRESS_PORT))}`
  if (verdict >= 0) return 'CONSUMED'
  return `DROPPED ${-verdict} ${dropReasonName(-verdict)} (${dropReasonText(-verdict)})`
}
