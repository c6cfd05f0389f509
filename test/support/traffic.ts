/**
 * The traffic of the tests on real namespaces is that of the demo: the same programs, the same
 * wrappers.
 */
import type { Lab, Namespace } from '../../src/lab/lab.js'
import { tcpProbe } from '../../src/lab/traffic.js'

export * from '../../src/lab/traffic.js'

const STEERED_MILLISECONDS_MAX = 20_000

/**
 * Waits until a port of the node answers: its uplinks' programs learn of a service when the worker
 * looks, which is within 100 ms.
 */
export async function untilOpen(
  lab: Lab,
  from: Namespace,
  address: string,
  port: number,
): Promise<void> {
  const deadline = performance.now() + STEERED_MILLISECONDS_MAX
  while (performance.now() < deadline) {
    if ((await tcpProbe(lab, from, address, port)) === 'open') return
  }
  throw new Error(`nobody answers at ${address}:${port}`)
}
