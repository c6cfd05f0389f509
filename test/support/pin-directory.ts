/**
 * A bpffs of a test's own, mounted in a directory of its lab, with which it goes. It is mounted before
 * `ip netns exec` makes mount namespaces for programs that pin there, which then all have it.
 */
import { existsSync, readdirSync } from 'node:fs'
import { preparePinDirectory } from 'xdp-socket-napi'
import type { Lab } from '../../src/lab/lab.js'

export class PinDirectory {
  readonly path: string

  constructor(lab: Lab) {
    this.path = lab.directory('pins')
    preparePinDirectory(this.path)
  }

  /** Devices whose programs are pinned. A bpffs may have files of the kernel's own beside them. */
  get devices(): string[] {
    // `ringpath cleanup` may have unmounted and removed it.
    if (!existsSync(this.path)) return []
    const entries = readdirSync(this.path, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  }
}
