/**
 * Keeps the node's own sockets and the NAT out of each other's ports, in the datapath's main
 * thread: each second it looks whether the node has other sockets than before, and reads them if
 * so, with very many as seldom as keeps it to a fifth of the time. A connection that the node
 * begins within that second, toward the same destination and with the same port as a pod's, is the
 * one that nothing keeps apart.
 */
import { HostPortScanner } from '../nat/host-port-scanner.js'
import type { NatMaps } from '../nat/nat-maps.js'
import { PortReservation } from '../nat/port-reservation.js'

const STEP_MILLISECONDS = 1000
/** A look that took long is followed by a pause of so many times that. */
const PAUSE_FACTOR = 4

export class HostPortTask {
  readonly #scanner: HostPortScanner
  readonly #reservation: PortReservation | undefined
  readonly #log: (line: string) => void
  readonly #timer: NodeJS.Timeout
  #isScanning = false
  /** By `performance.now`. */
  #notBefore = 0
  #lastTrouble = ''

  /** @param reservesPorts whether the kernel is to keep its sockets from the NAT's ports */
  constructor(maps: NatMaps, reservesPorts: boolean, log: (line: string) => void) {
    this.#log = log
    this.#scanner = new HostPortScanner(maps.hostPorts)
    this.#reservation = reservesPorts ? openReservation(maps, log) : undefined
    this.#timer = setInterval(() => void this.#step(), STEP_MILLISECONDS)
    void this.#step()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#guarded(() => this.#reservation?.close())
  }

  async #step(): Promise<void> {
    const start = performance.now()
    if (this.#isScanning || start < this.#notBefore) return
    this.#isScanning = true
    try {
      await this.#scanner.look()
      this.#guarded(() => this.#reservation?.update())
    } catch (error) {
      this.#tell(error)
    }
    this.#isScanning = false
    const now = performance.now()
    this.#notBefore = now + (now - start) * PAUSE_FACTOR
  }

  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#tell(error)
    }
  }

  /** The same trouble once a second is told once. */
  #tell(error: unknown): void {
    const trouble = error instanceof Error ? error.message : String(error)
    if (trouble !== this.#lastTrouble) this.#log(`host ports: ${trouble}`)
    this.#lastTrouble = trouble
  }
}

/** Where the sysctl cannot be had (a read-only /proc/sys), the datapath goes on without. */
function openReservation(maps: NatMaps, log: (line: string) => void): PortReservation | undefined {
  try {
    return new PortReservation(maps.portUse)
  } catch (error) {
    log(`host ports: not reserved: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
}
