/** Completion scripts, made from the commands themselves: names, options, and what both may be. */
import type { Command, Option } from 'commander'
import { KINDS } from '../k8s/kinds.js'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

/** What may follow in one place. */
interface Place {
  /** Sub-commands, and what the first argument may be. */
  readonly words: readonly string[]
  readonly options: readonly Option[]
}

/** Undefined for a shell that is none of those. */
export function completionScript(program: Command, shell: string): string | undefined {
  const places = placesOf(program)
  if (shell === 'bash') return bash(places)
  if (shell === 'zsh') return `autoload -U +X bashcompinit && bashcompinit\n${bash(places)}`
  if (shell === 'fish') return fish(places)
  return undefined
}

/** By the command typed so far: "", "map", "map dump". */
function placesOf(command: Command, path = ''): Map<string, Place> {
  const help = command.createHelp()
  const children = help.visibleCommands(command)
  const names = children.map((child) => child.name())
  const [argument] = command.registeredArguments
  const values = argument?.argChoices ?? (argument?.name() === 'kind' ? KINDS : [])
  const places = new Map<string, Place>()
  places.set(path, { words: [...names, ...values], options: help.visibleOptions(command) })
  for (const child of children) {
    if (child.name() === 'help') continue
    const below = path === '' ? child.name() : `${path} ${child.name()}`
    for (const [key, place] of placesOf(child, below)) places.set(key, place)
  }
  return places
}

const longOf = (options: readonly Option[]): string[] =>
  options.map(({ long }) => long ?? '').filter((name) => name !== '')

const takesValue = ({ required, optional }: Option): boolean => required || optional

const patternsOf = (path: string, { short, long }: Option): string[] =>
  [short, long].flatMap((flag) => (flag === undefined ? [] : [`'${path} ${flag}'`]))

function bash(places: ReadonlyMap<string, Place>): string {
  const valued: string[] = []
  const chosen: string[] = []
  for (const [path, { options }] of places) {
    for (const option of options.filter(takesValue)) {
      const patterns = patternsOf(path, option)
      valued.push(...patterns)
      if (option.argChoices === undefined) continue
      const list = option.argChoices.join(' ')
      chosen.push(`    ${patterns.join('|')}) words='${list}' ;;`)
    }
  }
  const next = [...places].map(([path, { words, options }]) => {
    return `    '${path}') words='${[...words, ...longOf(options)].join(' ')}' ;;`
  })
  return `_ringpath() {
  local now=\${COMP_WORDS[COMP_CWORD]} path='' words='' word flag='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $flag ]]; then flag=''; continue; fi
    case "$path $word" in
    ${valued.join('|')}) flag=$word ;;
    *' -'*) ;;
    *) path="\${path:+$path }$word" ;;
    esac
  done
  if [[ -n $flag ]]; then
    case "$path $flag" in
${chosen.join('\n')}
    esac
  else
    case "$path" in
${next.join('\n')}
    esac
  fi
  if [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$now"))
  else COMPREPLY=($(compgen -f -- "$now")); fi
}
complete -o bashdefault -F _ringpath ringpath`
}

/** In single quotes of fish. */
const quoted = (text: string): string => `'${text.replaceAll(/['\\]/g, '\\$&')}'`

function fish(places: ReadonlyMap<string, Place>): string {
  const lines = [...places].flatMap(([path, { words, options }]) => {
    const seen = path.split(' ').map((name) => `__fish_seen_subcommand_from ${name}`)
    const when = quoted(path === '' ? '__fish_use_subcommand' : seen.join('; and '))
    const start = `complete -c ringpath -n ${when}`
    const names = words.length === 0 ? [] : [`${start} -a ${quoted(words.join(' '))}`]
    return [...names, ...options.map((option) => `${start} ${fishOption(option)}`)]
  })
  return lines.join('\n')
}

function fishOption(option: Option): string {
  const { short, long, argChoices, description } = option
  const parts = [
    ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
    ...(long === undefined ? [] : [`-l ${long.slice(2)}`]),
    ...(takesValue(option) ? ['-r'] : []),
    ...(argChoices === undefined ? [] : [`-f -a ${quoted(argChoices.join(' '))}`]),
    `-d ${quoted(description)}`,
  ]
  return parts.join(' ')
}
