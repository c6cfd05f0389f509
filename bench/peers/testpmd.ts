/**
 * DPDK's testpmd on AF_XDP (doc.dpdk.org: testpmd user guide, af_xdp poll mode driver), forwarding
 * whole bursts between two devices and looking at nothing ("io").
 *
 * busy_budget=0: without busy polling, as ours; with it testpmd is slower here. Bursts are as large as
 * ours. It asks for no huge pages, because none may be had.
 */
import { existsSync } from 'node:fs'
import { BURST_RECEIVE_MAX } from '../../src/base/limits.js'
import type { Contender, Running } from '../wire/contender.js'
import { GENERATOR_CORE, preferOnItsCore, type Track, WORKER_CORE } from '../wire/track.js'
import { DRIVER_PREFIX } from './install.js'

const PROGRAM = '/usr/bin/dpdk-testpmd'
const START_MILLISECONDS = 20_000
const MEMORY_MEGABYTES = 256
/** Twice its rings and some more: its default would not fit into that memory. */
const BUFFERS = 32_768

export class Testpmd implements Contender {
  readonly name = 'testpmd'
  readonly description = 'DPDK testpmd, net_af_xdp, io forwarding, busy_budget=0, bursts of 64'
  readonly warmUpMilliseconds = 300

  problem(): Promise<string | undefined> {
    const reason = `no ${PROGRAM}: install dpdk-dev and ${DRIVER_PREFIX}…, or --install-peers`
    return Promise.resolve(existsSync(PROGRAM) ? undefined : reason)
  }

  async start(track: Track): Promise<Running> {
    const { sender, receiver } = track
    const devices = [sender, receiver].map(
      ({ device }, i) => `--vdev=net_af_xdp${i},iface=${device},busy_budget=0`,
    )
    // Its files, which go with the lab (lib/eal: eal_create_runtime_dir).
    const directory = `RUNTIME_DIRECTORY=${track.lab.directory('dpdk')}`
    const cores = `${GENERATOR_CORE},${WORKER_CORE}`
    const memory = ['--no-huge', '-m', `${MEMORY_MEGABYTES}`]
    const environment = ['-l', cores, ...memory, '--no-pci', '--no-telemetry', ...devices]
    const forwarding = ['--forward-mode=io', '--auto-start', '--nb-cores=1', '--portmask=3']
    const amounts = [`--total-num-mbufs=${BUFFERS}`, `--burst=${BURST_RECEIVE_MAX}`]
    // By lines, or nobody hears that it has started.
    const command = ['stdbuf', '-oL', PROGRAM, ...environment, '--', ...forwarding, ...amounts]
    const process = track.lab.spawn(track.node, 'env', [directory, ...command])
    preferOnItsCore(process)
    await process.waitForOutput(/Press enter to exit/, START_MILLISECONDS)
    return {
      process,
      target: { address: receiver.address, mac: sender.hostMac },
      sink: 'receiver',
      stop: async () => {
        await process.stop()
      },
    }
  }
}
