/**
 * A movable view of one frame in the UMEM: re-pointed at each frame, it owns no memory and allocates nothing.
 *
 * Offsets count from the packet's first byte; values are in network byte order. Check `has` once per header: the accessors
 * do not repeat it, and past the packet's end they read whatever the frame holds there.
 */
export class PacketBuffer {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #headroomBytes: number
  readonly #stride: number
  #start = 0
  #length = 0

  /**
   * @param umem the memory that all frames lie in
   * @param stride bytes from one frame to the next
   */
  constructor(umem: ArrayBufferLike, stride: number, headroomBytes = 0) {
    this.#bytes = new Uint8Array(umem)
    this.#view = new DataView(umem)
    this.#stride = stride
    this.#headroomBytes = headroomBytes
  }

  get start(): number {
    return this.#start
  }

  get length(): number {
    return this.#length
  }

  attach(start: number, length: number): void {
    this.#start = start
    this.#length = length
  }

  has(end: number): boolean {
    return end <= this.#length
  }

  u8(offset: number): number {
    return this.#bytes[this.#start + offset] as number
  }

  u16(offset: number): number {
    return this.#view.getUint16(this.#start + offset)
  }

  /** Signed on purpose: 32-bit fields stay int32 from wire to map key. */
  i32(offset: number): number {
    return this.#view.getInt32(this.#start + offset)
  }

  setU8(offset: number, value: number): void {
    this.#bytes[this.#start + offset] = value
  }

  setU16(offset: number, value: number): void {
    this.#view.setUint16(this.#start + offset, value)
  }

  setI32(offset: number, value: number): void {
    this.#view.setInt32(this.#start + offset, value)
  }

  /** Grows into the headroom for an outer header; false, and nothing moved, when there is no room. */
  pushHead(bytes: number): boolean {
    const room = (this.#start % this.#stride) - this.#headroomBytes
    if (bytes > room) return false
    this.#start -= bytes
    this.#length += bytes
    return true
  }

  /** Drops a header from the front; the caller has checked that the packet `has` it. */
  pullHead(bytes: number): void {
    this.#start += bytes
    this.#length -= bytes
  }

  /** Sets the packet's end; false, and nothing changed, when the frame is too small. */
  setLength(length: number): boolean {
    const offset = this.#start % this.#stride
    if (length < 0 || offset + length > this.#stride) return false
    this.#length = length
    return true
  }
}
