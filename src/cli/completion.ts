/** Completion scripts, made from the commands themselves. */
import type { Command } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

/** Undefined for a shell that is none of those. */
export function completionScript(program: Command, shell: string): string | undefined {
  const words = wordsOf(program)
  if (shell === 'bash') return bash(words)
  if (shell === 'zsh') return `autoload -U +X bashcompinit && bashcompinit\n${bash(words)}`
  if (shell === 'fish') return fish(words)
  return undefined
}

/** By the command typed so far ("", "map", "map dump"): what may follow. */
function wordsOf(command: Command, path = ''): Map<string, string[]> {
  const words = new Map<string, string[]>()
  const names = command.commands.map((child) => child.name())
  const options = command.options.map(({ long }) => long ?? '').filter((name) => name !== '')
  words.set(path, [...names, ...options, '--help'])
  for (const child of command.commands) {
    const below = path === '' ? child.name() : `${path} ${child.name()}`
    for (const [key, value] of wordsOf(child, below)) words.set(key, value)
  }
  return words
}

function bash(words: ReadonlyMap<string, readonly string[]>): string {
  const cases = [...words].map(([path, next]) => `    '${path}') words='${next.join(' ')}' ;;`)
  return `_ringpath() {
  local path='' word words i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -* ]] && continue
    path="\${path:+$path }$word"
  done
  case "$path" in
${cases.join('\n')}
    *) words='' ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
  [[ -n $words ]] || COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o bashdefault -F _ringpath ringpath`
}

function fish(words: ReadonlyMap<string, readonly string[]>): string {
  const lines = [...words].map(([path, next]) => {
    const condition =
      path === ''
        ? '__fish_use_subcommand'
        : `__fish_seen_subcommand_from ${path.split(' ').at(-1)}`
    return `complete -c ringpath -n '${condition}' -a '${next.join(' ')}'`
  })
  return lines.join('\n')
}
