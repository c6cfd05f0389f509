/**
 * systemd's notification protocol (sd_notify(3)): readiness, status, watchdog, as datagrams to the
 * socket that NOTIFY_SOCKET names. Without systemd nothing is sent.
 */
import { sendDatagram } from 'xdp-socket-napi'

const MICROSECONDS_PER_MILLISECOND = 1_000

export class SystemdNotifier {
  readonly #socket: string | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(env: NodeJS.ProcessEnv = process.env) {
    const path = env.NOTIFY_SOCKET
    this.#socket = path !== undefined && /^[/@]./.test(path) ? path : undefined
  }

  ready(status: string): void {
    this.#send(`READY=1\nSTATUS=${status}\nMAINPID=${process.pid}`)
  }

  status(text: string): void {
    this.#send(`STATUS=${text.replaceAll('\n', ' ')}`)
  }

  stopping(): void {
    clearInterval(this.#timer)
    this.#send('STOPPING=1')
  }

  /**
   * Tells the watchdog twice in its period that all is well, as long as `isWell` says so; systemd
   * starts the agent anew when it does not hear from it.
   */
  startWatchdog(isWell: () => boolean, env: NodeJS.ProcessEnv = process.env): void {
    const milliseconds = Number(env.WATCHDOG_USEC) / MICROSECONDS_PER_MILLISECOND
    const isForUs = env.WATCHDOG_PID === undefined || env.WATCHDOG_PID === `${process.pid}`
    if (!(milliseconds > 0) || !isForUs) return
    this.#timer = setInterval(() => {
      if (isWell()) this.#send('WATCHDOG=1')
    }, milliseconds / 2)
    this.#timer.unref()
  }

  #send(text: string): void {
    if (this.#socket === undefined) return
    try {
      sendDatagram(this.#socket, text)
    } catch {
      // Nobody listens; that must not end the agent.
    }
  }
}
