/** What a newcomer reads first: the mode, the picture, the policy, and what is about to happen. */
import type { Program } from './program.js'
import { left, type Paint } from './text.js'
import { acceptedText, CLIENT, ECHO, INTRUDER, NODE, PODS, WEB } from './topology.js'
import type { World } from './world.js'

export interface IntroOptions {
  readonly seconds: number
  /** Why it is a simulation; undefined when it is not, or when it was asked for. */
  readonly reason: string | undefined
}

export function introLines(world: World, options: IntroOptions, paint: Paint): string[] {
  return [
    ...modeLines(world, options.reason, paint),
    '',
    ...pictureLines(),
    '',
    paint.bold(
      'The policy: what each pod accepts from others (answers to its own calls always pass)',
    ),
    ...PODS.map((pod) => `  ${left(pod.name, 10)}${acceptedText(pod.policy)}`),
    '',
    paint.bold(`For ${options.seconds} seconds these programs run at the same time`),
    ...world.programs.map(programLine),
    '',
  ]
}

function modeLines(world: World, reason: string | undefined, paint: Paint): string[] {
  if (!world.isSimulated) {
    const what = 'real pods, real AF_XDP sockets, every frame decided on in TypeScript.'
    return [paint.bold(`Ringpath: ${what}`)]
  }
  const why = reason === undefined ? 'as asked for.' : `for this machine lacks something: ${reason}`
  return [
    paint.bold(`SIMULATION, ${why}`),
    'The same pods and programs are simulated; maps, policy and pipeline are the real ones.',
  ]
}

function pictureLines(): string[] {
  const from = (name: string, address: string) => left(`${left(name, 14)}${address}`, 24)
  const to = (name: string, address: string, what: string) =>
    `${left(name, 10)}${left(address, 11)}${what}`
  const web = to(`pod ${WEB.name}`, WEB.address, 'HTTP tcp/80, iperf3 tcp/5201')
  const echo = to(`pod ${ECHO.name}`, ECHO.address, 'echo udp/7')
  return [
    `  ${from(`pod ${CLIENT.name}`, CLIENT.address)} --+`,
    `  ${from(`pod ${INTRUDER.name}`, INTRUDER.address)} --+-- Ringpath --+-- ${web}`,
    `  ${from(`the ${NODE.name}`, NODE.address)} --+   datapath   +-- ${echo}`,
  ]
}

const programLine = ({ spec }: Program): string =>
  `  ${left(spec.where, 10)}${left(spec.command, 38)}${spec.promise}`
