/**
 * A bpffs of a test's own. It is mounted before `ip netns exec` makes mount namespaces, which then
 * all have it.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { preparePinDirectory } from 'xdp-socket-napi'

export class PinDirectory {
  readonly path = mkdtempSync(join(tmpdir(), 'rp-pins-'))

  constructor() {
    preparePinDirectory(this.path)
  }

  /** Devices whose programs are pinned. A bpffs may have files of the kernel's own beside them. */
  get devices(): string[] {
    if (!existsSync(this.path)) return []
    const entries = readdirSync(this.path, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  }

  /** What is pinned goes with the file system. */
  close(): void {
    // `ringpath cleanup` may have unmounted and removed it.
    if (!existsSync(this.path)) return
    execFileSync('umount', ['--lazy', this.path])
    rmSync(this.path, { recursive: true, force: true })
  }
}
