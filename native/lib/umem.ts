/**
 * The packet memory that all sockets of a worker share, cut into frames of one stride (kernel:
 * UMEM, chunks).
 *
 * A stride that is no power of two spreads frames over the cache's sets; the kernel then needs
 * unaligned-chunk mode, and where it refuses that, 2048 bytes are taken instead and `strideReason`
 * says why.
 */
import { binding, type UmemHandle } from './binding.js'
import { checkInteger, explain, explained, XdpError, XdpErrorCode } from './errors.js'

/** 33 cache lines: neighbouring frames start in different cache sets. */
export const DEFAULT_STRIDE_BYTES = 2112
/** Always accepted: aligned chunks of half a page. */
const ALIGNED_STRIDE_BYTES = 2048
const STRIDE_BYTES_MAX = 4096
const FRAMES_MAX = 1 << 20
/** What the kernel keeps free before each received packet (XDP_PACKET_HEADROOM). */
export const KERNEL_HEADROOM_BYTES = 256
const UMEM_BYTES_MAX = 2 ** 31

export interface UmemOptions {
  /** 1 to 1,048,576; at most 2 GiB in all. */
  readonly frameCount: number
  /** 2048 to 4096; 2112 unless told. */
  readonly strideBytes?: number
  /** Kept free before a packet beyond the kernel's own 256 bytes; 0 unless told. */
  readonly headroomBytes?: number
  /** 'auto': huge pages when the system has reserved some, else normal ones. */
  readonly hugePages?: 'auto' | 'never'
}

export class Umem {
  readonly frameCount: number
  readonly strideBytes: number
  /** Empty, or why the stride differs from what was asked for. */
  readonly strideReason: string
  readonly headroomBytes: number
  /** On explicitly reserved huge pages. */
  readonly hugePages: boolean
  /** Empty, or why not. */
  readonly hugePagesReason: string
  /** All frames. Detached (0 bytes long) by `close`. */
  readonly buffer: ArrayBuffer
  /**
   * Word 0 is the number of free frames, then a stack of their first bytes; all are free at first.
   */
  readonly poolWords: Int32Array
  /**
   * What lies behind the first buffers of packets of several: word 0 is the number of such packets
   * that the program has, word 1 that of their further buffers; then two words for each frame: one
   * more than the first byte of the next buffer, or 0, and the byte behind the buffer's last one.
   */
  readonly chainWords: Int32Array
  readonly #handle: UmemHandle
  #users = 0
  #closed = false

  /** Throws EXDP_ARGUMENT, EXDP_MEMLOCK, EXDP_PERMISSION or EXDP_UNSUPPORTED. */
  constructor(options: UmemOptions) {
    const asked = options.strideBytes ?? DEFAULT_STRIDE_BYTES
    const headroomBytes = options.headroomBytes ?? 0
    checkInteger('frameCount', options.frameCount, 1, FRAMES_MAX)
    checkInteger('strideBytes', asked, ALIGNED_STRIDE_BYTES, STRIDE_BYTES_MAX)
    checkInteger('headroomBytes', headroomBytes, 0, asked - KERNEL_HEADROOM_BYTES - 1)
    if (options.frameCount * asked > UMEM_BYTES_MAX) {
      throw new XdpError(
        XdpErrorCode.ARGUMENT,
        `${options.frameCount} frames of ${asked} bytes are more than 2 GiB: no int32 reaches all`,
      )
    }
    const create = (strideBytes: number) =>
      binding().createUmem({
        frameCount: options.frameCount,
        strideBytes,
        headroomBytes,
        tryHugePages: (options.hugePages ?? 'auto') === 'auto',
      })
    const [made, strideBytes, strideReason] = createWithFallback(create, asked)
    this.frameCount = options.frameCount
    this.strideBytes = strideBytes
    this.strideReason = strideReason
    this.headroomBytes = headroomBytes
    this.hugePages = made.hugePages
    this.hugePagesReason = made.hugePagesReason
    this.buffer = made.buffer
    this.poolWords = new Int32Array(made.pool)
    this.chainWords = new Int32Array(made.chains)
    this.#handle = made.handle
  }

  /** Longest packet a frame takes on receive. */
  get packetBytesMax(): number {
    return this.strideBytes - KERNEL_HEADROOM_BYTES - this.headroomBytes
  }

  /** For this package's own classes. Throws EXDP_CLOSED. */
  get handle(): UmemHandle {
    if (this.#closed) throw new XdpError(XdpErrorCode.CLOSED, 'the UMEM is closed')
    return this.#handle
  }

  /**
   * The memory of another process, made with the same options, in place of this one, which nothing
   * uses yet: the buffers are the same and show the other's frames. `descriptor` is duplicated. Throws
   * EXDP_ARGUMENT while a socket or poller is open, EXDP_UNSUPPORTED for memory of another layout.
   */
  adopt(descriptor: number): void {
    if (this.#users > 0) {
      const text = `the UMEM is in use by ${this.#users} sockets and pollers: close them first`
      throw new XdpError(XdpErrorCode.ARGUMENT, text)
    }
    explained('umem', {}, () => binding().adoptMemory(this.handle, descriptor))
  }

  /** The memory itself, for another process: valid until `close`. */
  get descriptor(): number {
    return binding().umemDescriptor(this.handle)
  }

  /** Counts sockets and pollers, which must be closed before. For this package's own classes. */
  addUser(change: 1 | -1): void {
    this.#users += change
  }

  /**
   * Unmaps the memory. Throws EXDP_CLOSED while a socket or poller is open; a second call does
   * nothing.
   */
  close(): void {
    if (this.#closed) return
    if (this.#users > 0) {
      throw new XdpError(
        XdpErrorCode.CLOSED,
        `the UMEM is in use by ${this.#users} sockets and pollers: close them first`,
      )
    }
    this.#closed = true
    const [pool, chains] = [this.poolWords.buffer, this.chainWords.buffer]
    binding().closeUmem(this.#handle, this.buffer, pool as ArrayBuffer, chains as ArrayBuffer)
  }
}

type Created = ReturnType<ReturnType<typeof binding>['createUmem']>

function createWithFallback(
  create: (strideBytes: number) => Created,
  asked: number,
): readonly [made: Created, strideBytes: number, reason: string] {
  try {
    return [create(asked), asked, '']
  } catch (error) {
    const problem = explain(error, 'umem')
    const unaligned = (asked & (asked - 1)) !== 0
    const refused = problem instanceof XdpError && problem.code === XdpErrorCode.ARGUMENT
    if (!unaligned || !refused) throw problem
    try {
      const made = create(ALIGNED_STRIDE_BYTES)
      return [made, ALIGNED_STRIDE_BYTES, `the kernel refused unaligned frames of ${asked} bytes`]
    } catch (second) {
      throw explain(second, 'umem')
    }
  }
}
