/**
 * Imported first, it makes the test file run in a network namespace of its own, which the kernel
 * removes with its last process: nothing is left behind even by kill -9. Without root the file
 * fails, or with RINGPATH_NO_ROOT=1 is skipped.
 *
 * The namespace holds `rpx0` and `rpx1`, the two ends of one veth, with two queues each; and no
 * address.
 */
import { execFileSync, spawnSync } from 'node:child_process'

const INSIDE = 'RINGPATH_NATIVE_NAMESPACE'

if (process.env[INSIDE] === undefined) {
  if (process.getuid?.() !== 0) {
    const skip = process.env.RINGPATH_NO_ROOT === '1'
    console.log(skip ? '1..0 # SKIP needs root' : 'not ok 1 - this test needs root\n1..1')
    process.exit(skip ? 0 : 1)
  }
  const file = process.argv[1] as string
  const run = spawnSync('unshare', ['--net', process.execPath, ...process.execArgv, file], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  })
  process.exit(run.status ?? 1)
}

/** Runs a command of this namespace and returns what it printed. */
export function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

const QUEUES = ['numrxqueues', '2', 'numtxqueues', '2']
run('ip', 'link', 'add', 'rpx0', ...QUEUES, 'type', 'veth', 'peer', 'name', 'rpx1', ...QUEUES)
for (const device of ['rpx0', 'rpx1']) {
  // Neighbour discovery would put frames of the kernel's between ours.
  run('sysctl', '-qw', `net.ipv6.conf.${device}.disable_ipv6=1`)
  run('ip', 'link', 'set', device, 'up')
}
