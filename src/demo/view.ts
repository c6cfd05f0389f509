/**
 * The live view: a snapshot as lines of at most 100 columns, as many as the terminal has room for,
 * and a shorter form for pipes and CI. Pure text; nothing is read or written here.
 */

import { dropReasonName, dropReasonText } from '../packet/drop-reason.js'
import { Direction } from '../packet/verdict.js'
import { type Connection, type ConnectionList, ConnectionState } from './connections.js'
import type { DropRecord } from './drop-log.js'
import type { Program } from './program.js'
import type { DropCount, PortRate, Snapshot } from './sampler.js'
import { bitRate, byteCount, count, left, type Paint, right } from './text.js'

export const COLUMNS_MAX = 100
/** The longest command of a program, and what a line has left for its result. */
const COMMAND_WIDTH = 37
const RESULT_MAX = COLUMNS_MAX - COMMAND_WIDTH - 13

export interface ViewInput {
  readonly snapshot: Snapshot
  readonly programs: readonly Program[]
  readonly facts: string
  readonly showSeconds: number
  /** Lines at most. */
  readonly rows: number
}

const REASONS_MAX = 3
const CONNECTIONS_MAX = 4
const LAST_DROPS_MAX = 3

export function viewLines(input: ViewInput, paint: Paint): string[] {
  const { snapshot, programs, facts, showSeconds, rows } = input
  const time = `${Math.floor(snapshot.seconds)} s of ${showSeconds} s`
  const reasons = snapshot.drops.slice(0, REASONS_MAX)
  const head = [paint.bold(`Ringpath live  ${left(time, 14)}`) + paint.dim(facts.slice(0, 70))]
  const ports = [portHeader(paint), ...snapshot.ports.map(portLine)]
  const legend = paint.dim('  ok: as promised so far, !!: not')
  const tries = [
    paint.bold('PROGRAMS') + legend,
    ...programs.map((program) => programLine(program, paint)),
  ]
  const fixed = head.length + ports.length + tries.length + 1 + 1 + reasons.length

  // What the terminal has left goes to the lists first, then to blank lines between the sections.
  let room = Math.max(0, rows - fixed)
  const take = (wanted: number): number => {
    const taken = Math.min(wanted, room)
    room -= taken
    return taken
  }
  const lastDrops = take(Math.min(LAST_DROPS_MAX, snapshot.lastDrops.length))
  const connections = take(CONNECTIONS_MAX)
  const gap = take(4) === 4 ? [''] : []
  return [
    ...head,
    ...gap,
    ...ports,
    ...gap,
    ...tries,
    ...gap,
    connectionHeader(snapshot, paint),
    ...connectionLines(snapshot.connections.all, connections),
    ...gap,
    paint.bold(`DROPPED  ${count(snapshot.droppedFrames)} frames`),
    ...reasons.map((drop) => dropLine(drop, paint)),
    ...snapshot.lastDrops.slice(0, lastDrops).map(lastDropLine),
  ]
}

/** One moment on a pipe: few lines, which never move. */
export function plainLines(input: ViewInput): string[] {
  const { snapshot, programs } = input
  const received = snapshot.ports.reduce((sum, port) => sum + port.receivedFrames, 0)
  const bits = snapshot.ports.reduce((sum, port) => sum + port.receivedBits, 0)
  const lines = [
    `${right(snapshot.seconds.toFixed(), 3)} s  ${count(received)} packets/s, ${bitRate(bits)}; ` +
      `${count(snapshot.droppedFrames)} frames dropped`,
    `       connections: ${connectionText(snapshot.connections)}`,
  ]
  for (const { spec, result } of programs) {
    lines.push(
      `       ${left(spec.where, 9)}${left(spec.command, COMMAND_WIDTH)}${result}`.trimEnd(),
    )
  }
  const last = snapshot.lastDrops[0]
  if (last !== undefined) lines.push(`       last drop:${lastDropLine(last).slice(8)}`)
  return lines.map((line) => line.slice(0, COLUMNS_MAX))
}

/** `ok`, `!!`, or `..` while nothing is known. */
export function mark(program: Program, paint: Paint): string {
  if (program.attempts === 0) return paint.dim('..')
  return program.isAsPromised ? paint.good('ok') : paint.bad('!!')
}

function portHeader(paint: Paint): string {
  const sent = `${right('sends packets/s', 17)}${right('bit rate', 13)}`
  const got = `${right('gets packets/s', 17)}${right('bit rate', 13)}`
  return paint.bold(`${left('PORT', 9)}${sent}${got}${right('ring full', 11)}`)
}

function portLine(port: PortRate): string {
  const sent = `${right(count(port.receivedFrames), 17)}${right(bitRate(port.receivedBits), 13)}`
  const got = `${right(count(port.sentFrames), 17)}${right(bitRate(port.sentBits), 13)}`
  return ` ${left(port.name, 8)}${sent}${got}${right(count(port.lostOnRings), 11)}`
}

/** A program, whether all is as promised so far, and what it achieved. */
export function programLine(
  program: Program,
  paint: Paint,
  result: string = program.result,
): string {
  const { where, command } = program.spec
  const text = `${left(where, 9)}${left(command, COMMAND_WIDTH)}${result.slice(0, RESULT_MAX)}`
  return ` ${mark(program, paint)} ${text}`
}

function connectionHeader({ connections }: Snapshot, paint: Paint): string {
  return `${paint.bold('CONNECTIONS')}  ${connectionText(connections)}`
}

function connectionText({ tcp, udp, icmp }: ConnectionList): string {
  const states = Object.values(ConnectionState).map((state) => `${count(tcp[state])} ${state}`)
  return `tcp ${states.join(', ')}; udp ${count(udp)}; ping ${count(icmp)}`
}

/** Always as many lines as there is room for, so that what follows does not jump. */
function connectionLines(all: readonly Connection[], lines: number): string[] {
  const shown = all.filter(({ state }) => state !== ConnectionState.CLOSED).slice(0, lines)
  const texts = shown.map((connection) => {
    const { from, to, service, state, packets, bytes } = connection
    const who = `${from} -> ${to} ${service}`
    const size = `${right(count(packets), 12)} packets ${right(byteCount(bytes), 10)}`
    return ` ${left(who, 30)}${left(state, 12)}${size}`
  })
  return [...texts, ...new Array<string>(lines - texts.length).fill('')]
}

const DIRECTIONS: Readonly<Record<number, string>> = {
  [Direction.INGRESS]: 'ingress',
  [Direction.EGRESS]: 'egress',
}

/** How often, why and on which side: `12 x 133 POLICY_DENIED  ingress  no rule allows it`. */
export function dropLine(drop: DropCount, paint: Paint): string {
  const reason = `${drop.code} ${dropReasonName(drop.code)}`
  const side = DIRECTIONS[drop.direction] ?? ''
  const line = ` ${right(count(drop.frames), 8)} x ${left(reason, 23)}${left(side, 9)}`
  // The sentence begins with the name again, where it explains it.
  const text = dropReasonText(drop.code).replace(/^[^:]*: /, '')
  return paint.bad(line) + text.slice(0, COLUMNS_MAX - line.length)
}

/** `last:  intruder -> web tcp/80: 133 POLICY_DENIED entering web, 12 times`. */
function lastDropLine(drop: DropRecord): string {
  const who = `${drop.from} -> ${drop.to} ${drop.service}`
  const times = drop.times === 1 ? 'once' : `${count(drop.times)} times`
  return ` last:   ${who}: ${drop.code} ${drop.name} ${drop.where}, ${times}`.slice(0, COLUMNS_MAX)
}
