/** ICMP errors that a pod gets, by its own kernel's count. */
import { setTimeout } from 'node:timers/promises'
import type { Lab, Namespace } from '../../src/lab/lab.js'

/** Datagrams to a service without backends, at once or so far apart. */
export interface Refused {
  readonly count: number
  readonly pauseSeconds: number
  readonly to: string
  /** Waits until so many have come, at most some 15 s. */
  readonly atLeast: number
}

/** How many of them are answered by an ICMP error. */
export async function refusalsOf(
  lab: Lab,
  from: Namespace,
  { count, pauseSeconds, to, atLeast }: Refused,
): Promise<number> {
  const icmp = async () => {
    const { stdout } = await lab.exec(from, 'cat', ['/proc/net/snmp'])
    const [names = [], values = []] = [...stdout.matchAll(/^Icmp: (.*)$/gm)].map(([, line = '']) =>
      line.split(' '),
    )
    return Number(values[names.indexOf('InDestUnreachs')])
  }
  const before = await icmp()
  const script = `import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(${count}):
    s.sendto(b'x', ('${to}', 80))
    time.sleep(${pauseSeconds})`
  await lab.exec(from, 'python3', ['-c', script])
  const told = async (): Promise<number> => (await icmp()) - before
  let last = await told()
  // Until as many as must come have, and then for most of a second nothing new.
  for (let same = 0, tries = 0; tries < 75 && (same < 4 || last < atLeast); tries++) {
    await setTimeout(200)
    const now = await told()
    same = now === last ? same + 1 : 0
    last = now
  }
  return last
}
