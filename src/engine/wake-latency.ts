/**
 * How long a core may take to wake from its rest. A sleeping worker's first packet waits for that: on
 * a virtual machine, whose host takes a resting core for others, most of its delay; on hardware as
 * much as the deepest idle state takes. The kernel chooses idle states by the least of all requests,
 * for all cores, and a request lasts as long as the file is open: nothing is left behind by a process
 * that is killed, as it would be by the files of single cores in sysfs.
 * Source: Documentation/power/pm_qos_interface.rst of the kernel, "CPU latency QoS".
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { ErrorCode, RingpathError } from '../base/errors.js'

const DEVICE = '/dev/cpu_dma_latency'

export class WakeLatency {
  readonly #fd: number

  /**
   * Asks for it until `close`, or the end of the process.
   * @param microseconds 0 to 2^31 - 1; at 0 cores that have nothing to do wait in a loop: they halt no more, use as much
   * power as busy ones, and are counted as idle
   * @throws RingpathError CONFIG_INVALID where the kernel has no such requests, or we may not make one
   */
  constructor(microseconds: number, device: string = DEVICE) {
    try {
      this.#fd = openSync(device, 'r+')
      // The kernel's s32, in the machine's order.
      writeSync(this.#fd, Int32Array.of(microseconds))
    } catch (error) {
      const expected = `expected none where the kernel cannot be asked: ${(error as Error).message}`
      throw new RingpathError(
        ErrorCode.CONFIG_INVALID,
        `wakeLatencyMicroseconds: ${microseconds}, ${expected}`,
      )
    }
  }

  close(): void {
    closeSync(this.#fd)
  }
}
