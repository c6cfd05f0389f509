/** The part of the `raw-socket` package that the tests use; it ships no types. */
declare module 'raw-socket' {
  export interface Socket {
    send(
      buffer: Buffer,
      offset: number,
      length: number,
      address: string,
      done: (error: Error | null, bytes: number) => void,
    ): void
    close(): void
  }
  const raw: { createSocket(options: { protocol: number }): Socket }
  export default raw
}
