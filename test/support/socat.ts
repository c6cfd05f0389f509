/**
 * One TCP connection by socat, at either end. Half a second after its input has ended socat ends too,
 * whatever answer is on its way, unless told otherwise (`-t`): on a machine that others use, too, that is too
 * soon. Once both sides have closed, it waits for nothing.
 */
import type { Lab, Namespace } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'

const PATIENCE_SECONDS = '10'

/** @param listen socat's address, such as "TCP-LISTEN:7000" @param answer another, such as "EXEC:rev" */
export async function socatServer(
  lab: Lab,
  at: Namespace,
  listen: string,
  answer: string,
): Promise<LabProcess> {
  const server = lab.spawn(at, 'socat', ['-d', '-d', '-t', PATIENCE_SECONDS, listen, answer])
  await server.waitForOutput(/listening on/)
  return server
}

/** What comes back; empty when nobody answers. @param target socat's address @param input is sent */
export async function askBySocat(
  lab: Lab,
  from: Namespace,
  target: string,
  input = '',
): Promise<string> {
  const patience = ['-t', PATIENCE_SECONDS, '-T', PATIENCE_SECONDS]
  return (await lab.exec(from, 'socat', [...patience, '-', target], { input })).stdout
}
