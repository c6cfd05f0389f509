/**
 * Running sockets for another process: a channel of messages with text and open descriptors
 * (SCM_RIGHTS), by which a process gives away its UMEM, sockets and programs. What is said is the
 * program's matter, and so is the order: describe, `adopt` everything, stop, `resume`.
 */
import { binding } from './binding.js'
import { explained, XdpError, XdpErrorCode } from './errors.js'

export interface ReceivedMessage {
  readonly text: string
  /** The receiver's, to be closed with `closeDescriptors` once they are adopted. */
  readonly descriptors: Int32Array
}

const NO_DESCRIPTORS = new Int32Array()

/** One end of a connection. Belongs to one thread. */
export class DescriptorChannel {
  readonly #fd: number
  #closed = false

  private constructor(fd: number) {
    this.#fd = fd
  }

  static connect(path: string): DescriptorChannel {
    const fd = explained('channel', { path }, () => binding().connectChannel(path))
    return new DescriptorChannel(fd)
  }

  /** For `ChannelListener`. */
  static of(fd: number): DescriptorChannel {
    return new DescriptorChannel(fd)
  }

  /**
   * Never waits. False when the other side has to take something first, and the same is to be sent
   * again. Throws EXDP_CLOSED when nobody is there any more.
   *
   * @param text up to 128 KiB
   * @param descriptors up to 253; they stay open here
   */
  send(text: string, descriptors: Int32Array = NO_DESCRIPTORS): boolean {
    const result = explained('channel', {}, () =>
      binding().sendMessage(this.#fd, text, descriptors),
    )
    if (result === 'closed') throw closed()
    return result === 'done'
  }

  /**
   * Undefined when none came within the time (-1: for ever). Throws EXDP_CLOSED when none will come
   * any more.
   */
  receive(timeoutMilliseconds: number): ReceivedMessage | undefined {
    const result = explained('channel', {}, () =>
      binding().receiveMessage(this.#fd, timeoutMilliseconds),
    )
    if (result === 'closed') throw closed()
    return result === 'nothing' ? undefined : result
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    binding().closeDescriptor(this.#fd)
  }
}

/** A path, for its owner alone, at which other processes connect. */
export class ChannelListener {
  readonly #fd: number
  #closed = false

  /** What lies at the path is replaced. */
  constructor(path: string) {
    this.#fd = explained('channel', { path }, () => binding().listenForChannels(path))
  }

  /** Undefined when nobody has connected. Never waits. */
  accept(): DescriptorChannel | undefined {
    const fd = explained('channel', {}, () => binding().acceptChannel(this.#fd))
    return fd < 0 ? undefined : DescriptorChannel.of(fd)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    binding().closeDescriptor(this.#fd)
  }
}

export function closeDescriptors(descriptors: Int32Array): void {
  for (const descriptor of descriptors) binding().closeDescriptor(descriptor)
}

/**
 * Makes a directory for pinned programs. Where there is no bpffs, one is mounted: at /sys/fs/bpf
 * for what is below that, else at the directory itself. Throws EXDP_SYSTEM, EXDP_PERMISSION.
 */
export function preparePinDirectory(directory: string): void {
  explained('pins', { path: directory }, () => binding().preparePinDirectory(directory))
}

/** Removes a directory of pins: a program that nothing else keeps leaves its device. */
export function removePins(directory: string): void {
  binding().removePins(directory)
}

const closed = (): XdpError => new XdpError(XdpErrorCode.CLOSED, 'the other process has gone')
