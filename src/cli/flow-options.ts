/**
 * Options of `flows`, `drops` and `monitor` that choose among flows, as `hubble observe` has them: one
 * given several times means any of the values, different ones must all hold, and `--not` turns the one after it.
 */
import { type Command, InvalidArgumentError } from 'commander'
import { type FlowField, flowMatcher } from '../observe/flow-filter.js'
import { timeOf } from '../observe/time-text.js'
import { CommandError, ExitCode } from './client.js'

/** Flags, field of the API's query, and what it is for. */
const FILTERS: readonly (readonly [string, FlowField, string])[] = [
  ['--pod <name>', 'pod', 'pod on either side: its name begins so; namespace/name; namespace/'],
  ['--from-pod <name>', 'sourcePod', '… of the sender'],
  ['--to-pod <name>', 'destinationPod', '… of the receiver'],
  ['--label <labels>', 'label', 'labels on either side: app=web, app, reserved:world'],
  ['--from-label <labels>', 'sourceLabel', '… of the sender'],
  ['--to-label <labels>', 'destinationLabel', '… of the receiver'],
  ['--service <name>', 'service', 'service on either side: name, namespace/name, name:port'],
  ['--from-service <name>', 'sourceService', '… answers of it'],
  ['--to-service <name>', 'destinationService', '… requests to it'],
  ['--ip <address>', 'ip', 'address or prefix on either side'],
  ['--from-ip, --from <address>', 'source', '… of the sender'],
  ['--to-ip, --to <address>', 'destination', '… of the receiver'],
  ['--port <port>', 'port', 'port on either side'],
  ['--from-port <port>', 'sourcePort', '… of the sender'],
  ['--to-port <port>', 'destinationPort', '… of the receiver'],
  ['--protocol <protocol>', 'protocol', 'tcp, udp, icmp, sctp, or a number'],
  ['--tcp-flags <flags>', 'tcpFlags', 'that have these set, such as SYN,ACK'],
  ['--identity <number>', 'identity', 'security identity of either side'],
  ['--from-identity <number>', 'sourceIdentity', '… of the sender'],
  ['--to-identity <number>', 'destinationIdentity', '… of the receiver'],
  ['--verdict <verdict>', 'verdict', 'forwarded, dropped, policy_allowed, policy_denied'],
  ['--drop-reason, --reason <reason>', 'reason', 'name or number of a drop reason'],
  ['-t, --type <type>', 'type', 'trace, drop, policy-verdict, or trace:to-endpoint'],
  ['--endpoint <name>', 'endpoint', 'whose policy was asked, by name or id'],
]
const FLAGS = /^(?:(-\w), )?(--[\w-]+)(?:, (--[\w-]+))? (<.*>)$/
const NOT = 'not'

/** What was asked for, in the order it was typed. */
interface Term {
  readonly field: FlowField
  readonly value: string
  readonly isNot: boolean
}

export interface FilterOptions {
  readonly since?: string
  readonly until?: string
}

/** The terms of a command, as its options are read. */
export class FlowFilterOptions {
  readonly #terms: Term[] = []
  #isNot = false

  addTo(command: Command): void {
    command.optionsGroup('Which (several values of one: any of them; different ones: all):')
    for (const [flags, field, help] of FILTERS) this.#add(command, flags, field, help)
    command.option('--not', 'leave out what the next of these options says')
    command.on(`option:${NOT}`, () => {
      this.#isNot = true
    })
    const time = (name: string) => (text: string) => {
      checked(() => timeOf(name, text, new Date()))
      return text
    }
    command.option('--since <time>', 'from then on: 5m (ago), 14:05:30, RFC 3339', time('since'))
    command.option('--until <time>', 'until then', time('until'))
  }

  /** Names that no pod has: a word that was mistyped shows nothing, and says nothing. */
  get pods(): readonly string[] {
    const isPod = ({ field }: Term): boolean => field.toLowerCase().endsWith('pod')
    return this.#terms.filter(isPod).map(({ value }) => value)
  }

  /** Drop reasons asked for, to choose among counters; undefined for all. */
  get reasons(): ((code: number, name: string) => boolean) | undefined {
    const terms = this.#terms.filter(({ field }) => field === 'reason')
    if (terms.length === 0) return undefined
    const is = (t: Term, code: number, name: string): boolean =>
      t.value === `${code}` || t.value.toUpperCase() === name
    return (code, name) => {
      const only = terms.filter(({ isNot }) => !isNot)
      const isWanted = only.length === 0 || only.some((t) => is(t, code, name))
      return isWanted && !terms.some((t) => t.isNot && is(t, code, name))
    }
  }

  /** For the query of `/v1/flows` and `/v1/drops`. */
  query({ since, until }: FilterOptions): readonly (readonly [string, string])[] {
    if (this.#isNot) {
      throw new CommandError('--not: nothing, expected a filter after it', ExitCode.USAGE)
    }
    const times = Object.entries({ since, until }).filter(([, text]) => text !== undefined)
    return [
      ...times.map(([name, text]) => [name, `${text}`] as const),
      ...this.#terms.map(({ field, value, isNot }) => {
        return [isNot ? `${NOT}.${field}` : field, value] as const
      }),
    ]
  }

  #add(command: Command, flags: string, field: FlowField, help: string): void {
    const [, short, long = '', other, value = ''] = FLAGS.exec(flags) ?? []
    const take = (text: string): string => {
      checked(() => flowMatcher({ is: { [field]: [text] } }))
      this.#terms.push({ field, value: text, isNot: this.#isNot })
      this.#isNot = false
      return text
    }
    const first = short === undefined ? long : `${short}, ${long}`
    const also = other === undefined ? '' : ` (or ${other})`
    command.option(`${first} ${value}`, `${help}${also}`, take)
    if (other === undefined) return
    const alias = command.createOption(`${other} ${value}`, help).hideHelp().argParser(take)
    command.addOption(alias)
  }
}

/** In the words of a wrong option. */
function checked(check: () => unknown): void {
  try {
    check()
  } catch (error) {
    // "field: 'value', expected …": the option has been named already.
    const { message } = error as Error
    const expected = message.slice(message.indexOf(', expected ') + 2)
    throw new InvalidArgumentError(`${expected.charAt(0).toUpperCase()}${expected.slice(1)}.`)
  }
}
