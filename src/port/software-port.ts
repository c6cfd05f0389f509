/**
 * A port that copies frames into and out of the UMEM, where AF_XDP would leave that to the kernel:
 * memory, pcap.
 *
 * It owns no frames; `SoftwareExchange` hands it a place in the UMEM and keeps the books. Neither
 * method may throw for what a frame contains or for a full queue: both are counted.
 */

/** Returned by `receive` when no frame waits. */
export const NOTHING_WAITS = -1

export interface SoftwarePort {
  readonly name: string
  /** Whether `receive` would find a frame now; keeps the exchange from sleeping. */
  readonly isWaiting: boolean
  /**
   * Frames that came to this port and that it refused itself, because its queue was full or they
   * were too long.
   */
  readonly receiveDropped: number
  /**
   * Copies the next waiting frame to `umem[start]` and on, and returns its length in bytes;
   * NOTHING_WAITS when there is none. A frame longer than `capacity` stays the next one, and its length
   * is returned.
   */
  receive(umem: Uint8Array, start: number, capacity: number): number
  /** Drops the frame that was too long. */
  skip(): void
  /** Copies `length` bytes out; false when the port has no room (the exchange counts the drop). */
  send(umem: Uint8Array, start: number, length: number): boolean
  /** Called once, when the port leaves its exchange or the exchange closes. */
  close(): void
}
