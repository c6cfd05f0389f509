/**
 * Lets frames into a node and looks after each whether what must hold for any frame still does: no
 * frame lost or doubled, no exception, right checksums on what leaves if they were right, no
 * remembrance of what was dropped, NAT one to one.
 */
import { Ct, CtFlag, CtKey } from '../../../src/conntrack/ct-entry.js'
import type { LruHashMap } from '../../../src/maps/lru-hash-map.js'
import { Snat } from '../../../src/nat/snat-entry.js'
import { parseFrame } from '../packet-parser.js'
import { problemsOf } from '../scenario/expect-frame.js'
import type { MemoryWorld } from '../scenario/memory-world.js'
import { readMappings } from '../scenario/nat-state.js'
import type { SentFrame } from '../scenario/world.js'

const DROP_CODE_MIN = 130
const REASONS = 256
const DIRECTIONS = 4
const VXLAN_PORT = 8472

/** Words of the values that a frame which is dropped must leave as they are. */
const CT_WORDS = [Ct.REV_NAT, Ct.SOURCE_IDENTITY] as const
const SNAT_WORDS = [Snat.ADDRESS, Snat.PORT] as const
const AFFINITY_WORDS = [1] as const

export interface Outcome {
  readonly sent: readonly SentFrame[]
  /** What does not hold; empty when all does. */
  readonly violations: readonly string[]
}

export class Watch {
  readonly #world: MemoryWorld
  readonly #control: readonly Int32Array[]
  readonly #controlBefore: readonly Int32Array[]
  /** Of the tables after the last frame. */
  #rows: Map<string, string>

  constructor(world: MemoryWorld) {
    this.#world = world
    const { endpoints, services } = world.maps
    const { services: table, backends, slots, reverseNat, sourceRanges } = services
    // What no packet writes.
    this.#control = [
      endpoints.words,
      ...[table, backends, slots, reverseNat, sourceRanges].map((map) => map.words),
    ]
    this.#controlBefore = this.#control.map((words) => words.slice())
    this.#rows = this.#tables()
  }

  /** Time has passed, or frames went by unjudged. */
  lookAgain(): void {
    this.#rows = this.#tables()
  }

  /** One frame, judged. */
  send(port: string, frame: Uint8Array): Outcome {
    const world = this.#world
    const before = this.#rows
    const lossesBefore = lossesOf(world)
    const collectedBefore = this.#collections()
    let sent: readonly SentFrame[] = []
    try {
      sent = world.send(port, frame)
    } catch (error) {
      return { sent, violations: [`exception: ${(error as Error).stack}`] }
    }
    const violations = this.#judgeFrames(port, frame, sent)
    const losses = lossesOf(world) - lossesBefore
    this.#rows = this.#tables()
    if (losses > 1) violations.push(`${losses} drops of one frame`)
    if (losses === 1) {
      const isCollected = this.#collections() !== collectedBefore
      violations.push(...difference(before, this.#rows, isCollected))
    }
    if (losses === 1 && sent.length > 1) violations.push('dropped and sent')
    if (losses === 0 && sent.length > 1) violations.push(`one frame became ${sent.length}`)
    return { sent, violations }
  }

  /** Several at once: no exception, not more frames than came, none wrong if all were right. */
  sendAll(frames: readonly { readonly port: string; readonly frame: Uint8Array }[]): Outcome {
    let sent: readonly SentFrame[] = []
    try {
      sent = this.#world.sendAll(frames)
    } catch (error) {
      return { sent, violations: [`exception: ${(error as Error).stack}`] }
    }
    this.lookAgain()
    const violations: string[] = []
    if (sent.length > frames.length) violations.push(`${frames.length} became ${sent.length}`)
    if (frames.every(({ frame }) => allProblemsOf(frame).length === 0)) {
      for (const out of sent) {
        const problems = out.port === 'uplink' ? allProblemsOf(out.bytes) : problemsOf(out.bytes)
        violations.push(...problems.map((problem) => `out by ${out.port}: ${problem}`))
      }
    }
    return { sent, violations }
  }

  /** What is looked at once in a while, for it takes its time. */
  violationsOfState(): string[] {
    const found: string[] = []
    this.#control.forEach((words, i) => {
      const before = this.#controlBefore[i] as Int32Array
      if (words.some((word, at) => word !== before[at])) {
        found.push(`a packet changed the control plane's map ${i}`)
      }
    })
    const taken = new Map<string, string>()
    for (const mapping of readMappings(this.#world.maps)) {
      const { protocol, natAddress, natPort, to, toPort, from, fromPort } = mapping
      const place = `${protocol} ${natAddress}:${natPort} > ${to}:${toPort}`
      const other = taken.get(place)
      if (other !== undefined) found.push(`NAT gave ${place} to ${other} and ${from}:${fromPort}`)
      taken.set(place, `${from}:${fromPort}`)
    }
    return found
  }

  /** Two pods that nobody restricts still reach each other. */
  violationsOfCanary(from: string, to: string, frame: Uint8Array): string[] {
    const { sent, violations } = this.send(from, frame)
    const isThere = sent.length === 1 && sent[0]?.port === to
    return isThere ? [...violations] : [...violations, 'the pipeline delivers no more']
  }

  /** Changes when a collector was at work, or a full table made room: then entries may be gone. */
  #collections(): number {
    const { gc, natGc, maps } = this.#world.node
    const evictions = maps.conntrackTable.evictions + maps.nat.snat.evictions
    return gc.sweeps + gc.deleted + natGc.sweeps + natGc.deleted + evictions
  }

  #judgeFrames(port: string, frame: Uint8Array, sent: readonly SentFrame[]): string[] {
    if (sent.length === 0) return []
    const isRight = allProblemsOf(frame).length === 0
    return sent.flatMap((out) => {
      // What a pod gets is no envelope to anybody.
      const isOutside = out.port === 'uplink'
      const problems = isOutside ? allProblemsOf(out.bytes) : problemsOf(out.bytes)
      // An answer is made by us, whatever it answers; what it quotes is the sender's.
      const isAnswer = out.port === port && isIcmpError(out.bytes) && !isIcmpError(frame)
      const own = problems.filter((problem) => !problem.startsWith('quoted'))
      const faults = isRight ? problems : isAnswer ? own : []
      return faults.map((fault) => `out by ${out.port}: ${fault}`)
    })
  }

  #tables(): Map<string, string> {
    const { conntrackTable, nat, services } = this.#world.maps
    const rows = new Map<string, string>()
    collect(rows, 'connection', conntrackTable, CT_WORDS)
    collect(rows, 'mapping', nat.snat, SNAT_WORDS)
    collect(rows, 'affinity', services.affinity, AFFINITY_WORDS)
    return rows
  }
}

/** The live entries: key to the words of the value that count. */
function collect(
  rows: Map<string, string>,
  name: string,
  table: LruHashMap,
  counted: readonly number[],
): void {
  if (table.size === 0) return
  const { words, entriesStart, entryWords, slotCount } = table
  const { keyWords } = table.spec
  for (let slot = 0; slot < slotCount; slot++) {
    const at = entriesStart + slot * entryWords
    const state = words[at] as number
    // Zero: empty. Odd: without a live entry.
    if (state === 0 || (state & 1) === 1) continue
    const value = at + 1 + keyWords
    const isService =
      name === 'connection' && ((words[at + 1 + CtKey.PROTOCOL] as number) & CtFlag.SERVICE) !== 0
    const kept = counted.map((word) => words[value + word])
    if (isService) kept.push(words[value + Ct.BACKEND])
    rows.set(`${name} ${words.slice(at + 1, value).join()}`, kept.join())
  }
}

function difference(
  before: Map<string, string>,
  after: Map<string, string>,
  isCollected: boolean,
): string[] {
  const found: string[] = []
  for (const [key, value] of after) {
    const was = before.get(key)
    if (was === undefined) found.push(`a dropped frame made ${key} = ${value}`)
    else if (was !== value) found.push(`a dropped frame changed ${key}: ${was} to ${value}`)
  }
  if (isCollected) return found
  for (const key of before.keys()) if (!after.has(key)) found.push(`a dropped frame took ${key}`)
  return found
}

/** Frames lost so far, by any reason and in any direction. */
function lossesOf(world: MemoryWorld): number {
  const counters = world.maps.metrics.row(0)
  let total = 0
  for (let reason = DROP_CODE_MIN; reason < REASONS; reason++) {
    for (let direction = 0; direction < DIRECTIONS; direction++) {
      total += counters[(reason * DIRECTIONS + direction) * 2] as number
    }
  }
  return total
}

/** Of the frame, and of the one within where it is an envelope. */
function allProblemsOf(frame: Uint8Array): string[] {
  const { udp, payload } = parseFrame(frame)
  const isEnvelope = udp?.to === VXLAN_PORT && payload.length >= 8 + 14
  const inner = isEnvelope && payload[0] === 8 ? problemsOf(payload.subarray(8)) : []
  return [...problemsOf(frame), ...inner]
}

/** Types 3, 4, 5, 11 and 12. */
function isIcmpError(frame: Uint8Array): boolean {
  if (frame.length < 35 || frame[12] !== 8 || frame[13] !== 0 || frame[23] !== 1) return false
  const type = frame[14 + ((frame[14] as number) & 15) * 4] as number
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12
}
