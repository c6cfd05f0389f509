/** Datagrams to unix sockets, which Node's own modules cannot send: systemd's notifications, say. */
import { binding } from './binding.js'
import { explained } from './errors.js'

/**
 * Sends one datagram and never waits: EAGAIN when the receiver's queue is full.
 *
 * @param path of the socket; one that begins with '@' is abstract Throws EXDP_SYSTEM with `syscall`
 * and `errno`.
 */
export function sendDatagram(path: string, text: string): void {
  explained('datagram', { path }, () => binding().sendDatagram(path, text))
}
