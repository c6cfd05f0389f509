/**
 * What the help of each command teaches at its end: what is worth knowing, examples that work as they stand
 * (a test reads each by the command's own options), and what its exit codes mean.
 */
import type { Command } from 'commander'

export interface Lesson {
  readonly note?: string
  /** A command line, and what it is for. */
  readonly examples?: readonly (readonly [string, string])[]
  /** Beside 0 and 2, which are the same everywhere. */
  readonly exits: string
}

const ASKS = '1 refused or not found, 3 no agent answers'
const READS = '1 not found or not readable, 3 neither an agent nor files of a node'

const NODE_LESSONS: Readonly<Record<string, Lesson>> = {
  agent: { exits: '1 wrong documents, or it could not start' },
  datapath: {
    note: 'The agent starts one; by hand it is for debugging (node --inspect).',
    examples: [
      ['datapath --state /run/ringpath/edge-1 --no-training', 'ready the sooner, slow at first'],
    ],
    exits: '1 it could not start, 70 the program is wrong: tell its authors',
  },
  status: {
    examples: [
      ['status', 'for people'],
      ['status -o json | jq .datapath', 'for programs'],
      ['status > /dev/null || echo unwell', 'its exit code alone'],
    ],
    exits: '1 no frames flow, 3 no agent answers',
  },
  check: {
    examples: [
      ['check -f examples/node/manifests', 'every file of a directory'],
      ['check -f web.yaml --node node.yaml', 'with what depends on the node'],
    ],
    exits: '1 something is wrong: file, line, field, value, and what was expected',
  },
  apply: {
    note: 'Documents of the manifest directory are changed there; apply is for all others.',
    examples: [
      ['apply -f web.yaml', 'put it in force'],
      ['apply -f - < web.yaml', 'from standard input'],
    ],
    exits: '1 refused (nothing was changed) or not done yet, 3 no agent answers',
  },
  diff: {
    examples: [['diff -f web.yaml', 'before apply -f web.yaml']],
    exits: '1 refused, 3 no agent answers, 4 something would change',
  },
  get: {
    examples: [
      ['get', 'what is in force, and where it came from'],
      ['get service web', 'one, as YAML'],
      ['get networkpolicy -o json', 'all of a kind, whole'],
    ],
    exits: ASKS,
  },
  delete: { examples: [['delete service web', 'what `ringpath apply` brought']], exits: ASKS },
}

const FLOW_NOTE = `The number that a line begins with is what \`ringpath why\` explains.
Times are UTC. Names are those of now; -o json has both addresses and names.`

const PACKET_LESSONS: Readonly<Record<string, Lesson>> = {
  drops: {
    note: FLOW_NOTE,
    examples: [
      ['drops', 'by reason, and the last ones'],
      ['drops --live', 'rates, the last of each reason, the last frames'],
      ['drops --reason POLICY_DENIED --to-pod web --since 10m', 'who was refused lately'],
      ['drops --reason INVALID -n 1 -x', 'the bytes of the last one'],
      ['drops --not --protocol icmp --follow', 'as they come, but for pings'],
    ],
    exits: '1 refused, 3 no agent answers',
  },
  flows: {
    note: FLOW_NOTE,
    examples: [
      ['flows --follow --pod client --port 80', 'as they come'],
      ['flows --from-service web --to-pod client --last 5', 'answers of a service'],
      ['flows --from-label app=client --not --to-label app=web', 'what else clients do'],
      ['flows --verdict dropped --since 5m -o json | jq .dropReason', 'for programs'],
      [
        'flows --type policy-verdict --to-ip 10.0.1.0/24 -o wide',
        'what policy said, and which rule',
      ],
      ['flows --all -w flows.pcapng', 'for Wireshark'],
    ],
    exits: '1 refused, 3 no agent answers',
  },
  monitor: {
    note: 'It takes the filters of `ringpath flows`, and ends with Ctrl-C.',
    examples: [
      ['monitor', 'everything'],
      ['monitor --type drop -x', 'drops with their bytes'],
    ],
    exits: '1 refused, 3 no agent answers',
  },
  capture: { exits: '1 refused, or one is on already, 3 neither an agent nor files' },
  trace: {
    note: `The node's own chain runs over a copy of its maps: its answer is the datapath's.`,
    examples: [
      ['trace --in client --to 10.96.0.10:80', 'a pod to a service'],
      ['trace --in client --to web:8080 -p udp', 'a pod to a pod'],
      ['trace --in eth1 --from 192.0.2.9 --to 192.0.2.1:30080', 'from outside'],
      ['trace --in client --pcap bad.pcapng --frame 17', 'a frame of a capture'],
    ],
    exits: '1 not found, 3 neither an agent nor files, 5 it would be dropped',
  },
  replay: {
    note: `It runs on a copy of the maps and with the capture's clock. Without an agent, the files
of the state directory are read and the process is your own: a debugger stops in it.`,
    examples: [
      ['replay client.pcapng --in client', 'a line for each frame'],
      ['replay drops.pcapng --stages', 'stage by stage'],
    ],
    exits: '1 no capture file, 3 neither an agent nor files',
  },
  why: {
    examples: [['why 42', 'the number is in the first column of drops and flows']],
    exits: '1 that number is not kept any more, 3 no agent answers',
  },
}

const TABLE_LESSONS: Readonly<Record<string, Lesson>> = {
  endpoint: {
    examples: [
      ['endpoint', 'all, with their counters'],
      ['endpoint -o wide', 'MACs, XDP mode, labels'],
      ['endpoint get client', 'one'],
    ],
    exits: READS,
  },
  'endpoint get': { examples: [['endpoint get client', 'by name or id']], exits: READS },
  service: {
    examples: [
      ['service', 'all'],
      ['service web -o wide', 'algorithm, affinity, scope'],
    ],
    exits: READS,
  },
  policy: {
    examples: [
      ['policy --endpoint web', 'who may speak to it, and to whom it may'],
      ['policy -o wide', 'which entries were met'],
    ],
    exits: READS,
  },
  identity: { examples: [['identity app=web', 'its number']], exits: READS },
  ipcache: { examples: [['ipcache 10.0.1.2', 'whose address it is']], exits: READS },
  ct: {
    examples: [
      ['ct 10.0.1.1', 'of one address'],
      ['ct --limit 100000 -o json | jq length', 'how many'],
    ],
    exits: READS,
  },
  nat: { examples: [['nat 10.0.1.1', 'of one address']], exits: READS },
  map: {
    examples: [
      ['map', 'size and use of each'],
      ['map dump ipcache', 'its entries'],
    ],
    exits: READS,
  },
  'map dump': {
    note: `Works on the files of a node that does not run, too. docs/maps.md tells what the
words mean.`,
    examples: [
      ['map dump ipcache', 'by agent or files'],
      ['map dump ct4 --state /run/ringpath/edge-1 -o json', 'of one node among several'],
    ],
    exits: READS,
  },
}

const TOOL_LESSONS: Readonly<Record<string, Lesson>> = {
  top: {
    examples: [
      ['top', 'over a second'],
      ['top --seconds 10 -n 3', 'longer, and shorter'],
    ],
    exits: READS,
  },
  metrics: {
    examples: [
      ['metrics', 'all of them'],
      ['metrics drop', 'those with "drop" in their names'],
    ],
    exits: ASKS,
  },
  'log-level': {
    examples: [
      ['log-level', 'as it is'],
      ['log-level debug', 'more, until the agent ends'],
    ],
    exits: ASKS,
  },
  version: { examples: [['version -o json', 'for programs']], exits: 'none else' },
  completion: {
    examples: [['completion fish > ~/.config/fish/completions/ringpath.fish', 'of fish']],
    note: 'bash and zsh: source <(ringpath completion bash), in .bashrc or .zshrc.',
    exits: 'none else',
  },
  bugreport: {
    note: `Run it where the agent runs (its network namespace). It changes nothing, and needs no
agent: what cannot be had is named.`,
    examples: [['bugreport /tmp/report', 'a directory of text files']],
    exits: '1 the directory cannot be written, 3 neither an agent nor files',
  },
  pktgen: { exits: '1 something was lost or not right, or it could not start' },
  bench: { exits: '1 a benchmark failed, or there is no checkout' },
  upgrade: {
    examples: [['upgrade', 'after systemctl restart ringpath-agent']],
    exits: '1 not handed over: the old datapath goes on, 3 no agent runs',
  },
  cleanup: {
    examples: [
      ['cleanup', 'connections are kept for the next start'],
      ['cleanup --remove', 'as if it had never been'],
    ],
    exits: '1 no state directory of a node, set up in another namespace, or a process stays',
  },
  demo: {
    examples: [
      ['demo --seconds 10', 'on real pods, as root'],
      ['demo --simulate', 'without root'],
    ],
    exits: '1 it could not be shown',
  },
}

/** By the names of the command: "map dump". */
export const LESSONS: Readonly<Record<string, Lesson>> = {
  ...NODE_LESSONS,
  ...PACKET_LESSONS,
  ...TABLE_LESSONS,
  ...TOOL_LESSONS,
}

/** Adds the lessons to the help of every command below. */
export function teach(program: Command, path = ''): void {
  for (const command of program.commands) {
    const name = `${path}${command.name()}`
    const lesson = LESSONS[name]
    if (lesson !== undefined) command.addHelpText('after', lessonText(lesson))
    teach(command, `${name} `)
  }
}

function lessonText({ note, examples = [], exits }: Lesson): string {
  const width = Math.max(0, ...examples.map(([line]) => line.length))
  const lines = examples.map(([line, what]) => `  ringpath ${line.padEnd(width)}  ${what}`)
  return [
    ...(note === undefined ? [] : ['', note]),
    ...(lines.length === 0 ? [] : ['', 'Examples:', ...lines]),
    '',
    `Exit codes: 0 well, 2 wrong usage${exits === 'none else' ? '' : `, ${exits}`}.`,
  ].join('\n')
}
