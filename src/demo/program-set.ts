/**
 * The programs of the demonstration, real or simulated: who calls whom, and what is promised of it.
 */
import { Program } from './program.js'
import { CLIENT, ECHO, INTRUDER, NODE, ServerPort, WEB } from './topology.js'

export interface ProgramSet {
  readonly curl: Program
  readonly ping: Program
  readonly echo: Program
  readonly bulk: Program
  readonly nodeCurl: Program
  readonly intrusion: Program
  readonly posing: Program
}

/** Of programs without retransmission, under a bulk transfer that fills every queue. */
const LOSSY_SHARE_MIN = 0.5

export function programSet(): ProgramSet {
  const works = 'works' as const
  const refused = 'refused' as const
  const allowed = 'allowed'
  const client = { where: CLIENT.name, expectation: works, promise: allowed }
  const intruder = { where: INTRUDER.name, expectation: refused, unit: 'attempts got through' }
  const shareMin = LOSSY_SHARE_MIN
  const datagram = `UDP to ${ECHO.address}, port ${ServerPort.ECHO}`
  const node = { where: NODE.name, expectation: works, promise: `${allowed}, by the host port` }
  return {
    curl: new Program({ ...client, command: `curl ${WEB.address}`, unit: 'requests answered' }),
    ping: new Program({
      ...client,
      command: `ping ${WEB.address}`,
      unit: 'pings answered',
      shareMin,
    }),
    echo: new Program({ ...client, command: datagram, unit: 'datagrams echoed', shareMin }),
    bulk: new Program({ ...client, command: `iperf3 -c ${WEB.address}`, unit: 'transfers done' }),
    nodeCurl: new Program({ ...node, command: `curl ${WEB.address}`, unit: 'requests answered' }),
    intrusion: new Program({
      ...intruder,
      command: `nc -z ${WEB.address} ${ServerPort.HTTP}`,
      promise: 'no rule allows it: drop 133',
    }),
    posing: new Program({
      ...intruder,
      command: `curl --interface ${CLIENT.address} ${WEB.address}`,
      promise: "the client's address, not its own: drop 132",
    }),
  }
}
