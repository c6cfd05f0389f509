/**
 * How an agent knows of a datapath that is not its child: a unix socket that the datapath holds
 * open. Connected to it, an agent learns which process it is and whether frames flow; that it died,
 * however it did, the kernel tells at once by closing the connection. Nothing else goes over it.
 */
import { rmSync } from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'

const SOCKET_NAME = 'datapath.sock'
const HELLO_CHARACTERS_MAX = 1024

export interface DatapathHello {
  readonly pid: number
  readonly version: string
  readonly isReady: boolean
  /** The process that this one has handed its ports to; this one ends then. */
  readonly successor?: number
}

export const socketPath = (stateDirectory: string): string => join(stateDirectory, SOCKET_NAME)

/** The datapath's side. Who calls has the role (process-lock.ts), so an old socket is a dead one's. */
export class LivenessServer {
  readonly #server: Server
  readonly #clients = new Set<Socket>()
  #hello: DatapathHello

  constructor(stateDirectory: string, version: string) {
    this.#hello = { pid: process.pid, version, isReady: false }
    this.#server = createServer((client) => {
      this.#clients.add(client)
      client.on('close', () => this.#clients.delete(client))
      client.on('error', () => client.destroy())
      client.resume()
      this.#tell(client)
    })
    const path = socketPath(stateDirectory)
    rmSync(path, { force: true })
    // The socket is made in the call itself: for its owner alone.
    const mask = process.umask(0o177)
    this.#server.listen(path)
    process.umask(mask)
    this.#server.unref()
  }

  /** Frames flow. */
  ready(): void {
    this.#hello = { ...this.#hello, isReady: true }
    for (const client of this.#clients) this.#tell(client)
  }

  /** Frames flow by another process. */
  handedOver(successor: number): void {
    this.#hello = { ...this.#hello, successor }
    for (const client of this.#clients) this.#tell(client)
  }

  /** Resolves when the path is free. What was told still arrives. */
  close(): Promise<void> {
    for (const client of this.#clients) client.destroySoon()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  #tell(client: Socket): void {
    client.write(`${JSON.stringify(this.#hello)}\n`)
  }
}

/** The agent's side: a datapath that was there when it connected. */
export class DatapathLink {
  readonly pid: number
  readonly version: string
  /** Resolves when frames flow, or with false when it ended before. */
  readonly ready: Promise<boolean>
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>
  /** The process that it has handed its ports to, before it goes. */
  successor: number | undefined
  readonly #socket: Socket
  #isReady: (isReady: boolean) => void = () => {}

  private constructor(socket: Socket, { pid, version }: DatapathHello) {
    this.#socket = socket
    this.pid = pid
    this.version = version
    this.gone = new Promise((resolve) => socket.once('close', () => resolve()))
    this.ready = new Promise((resolve) => {
      this.#isReady = resolve
      socket.once('close', () => resolve(false))
    })
  }

  /** Undefined when no datapath runs there. */
  static connect(stateDirectory: string): Promise<DatapathLink | undefined> {
    return new Promise((resolve) => {
      const socket = createConnection(socketPath(stateDirectory))
      socket.on('error', () => resolve(undefined))
      socket.once('close', () => resolve(undefined))
      let link: DatapathLink | undefined
      // One listener from first to last: several hellos may come in one piece.
      onHello(socket, (hello) => {
        link ??= new DatapathLink(socket, hello)
        link.#hear(hello)
        resolve(link)
      })
    })
  }

  #hear({ isReady, successor }: DatapathHello): void {
    this.successor = successor ?? this.successor
    if (isReady) this.#isReady(true)
  }

  close(): void {
    this.#socket.destroy()
  }
}

function onHello(socket: Socket, tell: (hello: DatapathHello) => void): void {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    if (text.length > HELLO_CHARACTERS_MAX) socket.destroy()
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(0, end)
      text = text.slice(end + 1)
      try {
        tell(JSON.parse(line) as DatapathHello)
      } catch {
        socket.destroy()
      }
    }
  })
}
