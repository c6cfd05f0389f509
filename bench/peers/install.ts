/** Installs the peers by apt, from wherever that is set up to get them (Debian, Ubuntu). */
import { type ExecFileSyncOptions, execFileSync } from 'node:child_process'

const PACKAGES = ['dpdk-dev', 'nftables', 'openvswitch-switch']
/** DPDK's driver; behind it stands the number of DPDK's ABI, another one in each release: 23, 24, 25. */
export const DRIVER_PREFIX = 'librte-net-af-xdp'

/** The packages of this release. @param known names of packages that begin with DRIVER_PREFIX */
export function peerPackages(known: readonly string[]): string[] {
  const abi = (name: string): number => Number(name.slice(DRIVER_PREFIX.length))
  const drivers = known.filter((name) => abi(name) > 0).sort((a, b) => abi(b) - abi(a))
  return [...PACKAGES, ...drivers.slice(0, 1)]
}

export function installPeers(log: (line: string) => void): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const options: ExecFileSyncOptions = { env, stdio: ['ignore', 'ignore', 'inherit'] }
  execFileSync('apt-get', ['-q', 'update'], options)
  const known = execFileSync('apt-cache', ['pkgnames', DRIVER_PREFIX], { encoding: 'utf8' })
  const packages = peerPackages(known.split('\n'))
  log(`installing ${packages.join(', ')}`)
  const install = ['-q', 'install', '--yes', '--no-install-recommends', ...packages]
  execFileSync('apt-get', install, options)
}
