/**
 * Real programs that make traffic between the namespaces of a lab: ping, curl and Python's web
 * server, socat, nc, iperf3, and an echo pair of our own for many connections. Each tells what the
 * programs saw; nothing here judges it.
 */
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Lab, Namespace } from './lab.js'
import type { LabProcess } from './lab-process.js'

const PING_SECONDS = 0.05

/** Where a server listens. */
export interface Server {
  readonly ns: Namespace
  readonly address: string
  readonly port: number
}

export interface PingOptions {
  /** 3 when not given. */
  readonly count?: number
  /** Payload bytes after the ICMP header; 56 when not given. */
  readonly sizeBytes?: number
  /** How long to wait for the last answer, in whole seconds; 2 when not given. */
  readonly waitSeconds?: number
  /** No request more than `count`, for whom these are counted; a late answer may be missed then. */
  readonly isExact?: boolean
}

export interface PingReport {
  /** As many as were asked for; `received` of these. */
  readonly sent: number
  readonly received: number
  /** Undefined when nothing came back. */
  readonly averageMs: number | undefined
}

/**
 * Echo requests, 50 ms apart, that must not be fragmented. While answers are missing it goes on
 * asking, for ping with a number alone waits for the last ones only as long as others took twice.
 */
export async function ping(
  lab: Lab,
  from: Namespace,
  address: string,
  options: PingOptions = {},
): Promise<PingReport> {
  const { count = 3, sizeBytes = 56, waitSeconds = 2, isExact = false } = options
  // On a busy machine `ping` sends late: what it had no time to send is not lost. It ends as soon as it can.
  const sendingSeconds = 1.5 * count * PING_SECONDS
  const deadline = Math.max(1, Math.round(sendingSeconds + waitSeconds))
  const wait = isExact ? ['-W', `${waitSeconds}`] : ['-w', `${deadline}`]
  const timing = ['-c', `${count}`, '-i', `${PING_SECONDS}`, ...wait]
  const size = ['-M', 'do', '-s', `${sizeBytes}`]
  const { stdout, stderr } = await lab.exec(from, 'ping', ['-n', ...timing, ...size, address])
  if (!stdout.includes(' packets transmitted')) throw new Error(`ping printed: ${stdout}${stderr}`)
  const answers = stdout.matchAll(/ bytes from .* icmp_seq=(\d+) ttl/g)
  const numbers = new Set([...answers].map(([, number]) => Number(number)))
  const average = /= [\d.]+\/([\d.]+)\//.exec(stdout)?.[1]
  return {
    sent: count,
    received: [...numbers].filter((number) => number <= count).length,
    averageMs: average === undefined ? undefined : Number(average),
  }
}

/** Serves the files of a directory over HTTP until stopped; resolves when it listens. */
export async function httpServer(lab: Lab, at: Server, directory: string): Promise<LabProcess> {
  const place = ['--bind', at.address, '--directory', directory, `${at.port}`]
  const server = lab.spawn(at.ns, 'python3', ['-u', '-m', 'http.server', ...place])
  await server.waitForOutput(/Serving HTTP/)
  return server
}

export interface HttpReport {
  /** The HTTP status; 0 when no answer came. */
  readonly status: number
  readonly body: string
  /** curl's own word on what went wrong; empty when nothing did. */
  readonly error: string
}

/** One request on a new connection. */
export async function httpGet(
  lab: Lab,
  from: Namespace,
  url: string,
  timeoutSeconds = 5,
): Promise<HttpReport> {
  const args = ['-sS', '--noproxy', '*', '--max-time', `${timeoutSeconds}`, '-w', '\n%{http_code}']
  const { stdout, stderr } = await lab.exec(from, 'curl', [...args, url])
  const end = stdout.lastIndexOf('\n')
  return { status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end), error: stderr.trim() }
}

export type TcpAnswer = 'open' | 'refused' | 'silent'

/**
 * What a TCP connection attempt meets: a handshake, a reset, or nothing (as when a policy drops
 * it).
 */
export async function tcpProbe(
  lab: Lab,
  from: Namespace,
  address: string,
  port: number,
  timeoutSeconds = 2,
): Promise<TcpAnswer> {
  const args = ['-n', '-v', '-z', '-w', `${timeoutSeconds}`, address, `${port}`]
  const { code, stderr } = await lab.exec(from, 'nc', args)
  if (code === 0) return 'open'
  return /refused/.test(stderr) ? 'refused' : 'silent'
}

export interface TransferReport {
  readonly bytes: number
  readonly seconds: number
  /** SHA-256, in hex, of what was sent and of what arrived. */
  readonly sentHash: string
  readonly receivedHash: string
}

/**
 * Random bytes over one TCP connection by socat; 1 megabyte is 1,000,000 bytes. The sender connects to
 * `through`, such as a service, when that is another address than the receiver's own.
 */
export async function transferWithHash(
  lab: Lab,
  from: Namespace,
  to: Server,
  megabytes: number,
  timeoutMs = 60_000,
  through: { readonly address: string; readonly port: number } = to,
): Promise<TransferReport> {
  const directory = await fs.mkdtemp(join(tmpdir(), 'ringpath-transfer-'))
  try {
    const file = join(directory, 'payload')
    const sentHash = await writeRandomFile(file, megabytes)
    const listen = `TCP-LISTEN:${to.port},bind=${to.address},reuseaddr`
    const script = 'socat -d -d -u "$0" - | sha256sum'
    const receiver = lab.spawn(to.ns, 'sh', ['-c', script, listen])
    await receiver.waitForOutput(/listening on/)
    const startMs = performance.now()
    const target = `TCP:${through.address}:${through.port},connect-timeout=5`
    const sender = await lab.exec(from, 'socat', ['-u', `OPEN:${file}`, target], { timeoutMs })
    if (sender.code !== 0) throw new Error(`the sender failed: ${sender.stderr}`)
    const [, receivedHash = ''] = await receiver.waitForOutput(/^([0-9a-f]{64}) /m, timeoutMs)
    const seconds = (performance.now() - startMs) / 1000
    return { bytes: megabytes * 1_000_000, seconds, sentHash, receivedHash }
  } finally {
    await fs.rm(directory, { recursive: true })
  }
}

async function writeRandomFile(path: string, megabytes: number): Promise<string> {
  const hash = createHash('sha256')
  const file = await fs.open(path, 'w')
  for (let i = 0; i < megabytes; i++) {
    const block = randomBytes(1_000_000)
    hash.update(block)
    await file.write(block)
  }
  await file.close()
  return hash.digest('hex')
}

export interface EchoReport {
  /** Connections that opened, and those of them that got all their bytes back unchanged. */
  readonly opened: number
  readonly intact: number
}

/** A TCP echo server of our own, for `tcpEcho`; resolves when it listens. */
export async function echoServer(lab: Lab, at: Server): Promise<LabProcess> {
  const args = ['--enable-source-maps', program('echo-server'), at.address, `${at.port}`]
  const server = lab.spawn(at.ns, process.execPath, args)
  await server.waitForOutput(/listening/)
  return server
}

/** Many connections to an echo server, all open at the same time before any sends. */
export async function tcpEcho(
  lab: Lab,
  from: Namespace,
  to: Server,
  load: { readonly connections: number; readonly bytesEach: number },
): Promise<EchoReport> {
  const amounts = [`${load.connections}`, `${load.bytesEach}`]
  const args = [program('echo-clients'), to.address, `${to.port}`, ...amounts]
  const { code, stdout, stderr } = await lab.exec(from, process.execPath, args)
  if (stdout === '') throw new Error(`the echo clients ended with ${code}: ${stderr}`)
  return JSON.parse(stdout) as EchoReport
}

/** A machine that others use, too, may be away for a second. */
const UDP_WAIT_SECONDS = 10

const program = (name: string) => fileURLToPath(new URL(`./programs/${name}.js`, import.meta.url))

/** Answers each UDP datagram with itself, by socat; resolves when it listens. */
export async function udpEchoServer(lab: Lab, at: Server): Promise<LabProcess> {
  const listen = `UDP4-RECVFROM:${at.port},bind=${at.address},reuseaddr,fork`
  const server = lab.spawn(at.ns, 'socat', ['-d', '-d', listen, 'EXEC:cat'])
  await server.waitForOutput(/receiving on/)
  return server
}

/** Sends one datagram and returns what comes back; empty when nothing does within so many seconds. */
export async function udpEcho(
  lab: Lab,
  from: Namespace,
  to: Server,
  text: string,
  waitSeconds = UDP_WAIT_SECONDS,
): Promise<string> {
  const args = [program('udp-asker'), to.address, `${to.port}`, `${waitSeconds}`]
  return (await lab.exec(from, process.execPath, args, { input: text })).stdout
}

export interface IperfOptions {
  /** 2 when not given. */
  readonly seconds?: number
  readonly parallel?: number
  /** The server sends. */
  readonly reverse?: boolean
  /** UDP at this rate instead of TCP as fast as it goes. */
  readonly udpBitsPerSecond?: number
}

export interface IperfReport {
  readonly bitsPerSecond: number
  /** TCP: segments sent again; UDP: 0. */
  readonly retransmits: number
  /** UDP: datagrams lost and sent; TCP: 0. */
  readonly lost: number
  readonly datagrams: number
}

interface IperfSum {
  readonly bits_per_second: number
  readonly retransmits?: number
  readonly lost_packets?: number
  readonly packets?: number
}

/** What we read of `iperf3 --json`: TCP fills the first two, UDP the last. */
interface IperfJson {
  readonly end: {
    readonly sum_sent?: IperfSum
    readonly sum_received?: IperfSum
    readonly sum?: IperfSum
  }
}

/** One run of iperf3 against a server of its own. */
export async function iperf(
  lab: Lab,
  from: Namespace,
  to: Server,
  options: IperfOptions = {},
): Promise<IperfReport> {
  const place = ['-B', to.address, '-p', `${to.port}`]
  const server = lab.spawn(to.ns, 'iperf3', ['-s', '-1', '--forceflush', ...place])
  await server.waitForOutput(/Server listening/)
  const rate = options.udpBitsPerSecond
  const { seconds = 2, parallel = 1 } = options
  const load = ['-t', `${seconds}`, '-P', `${parallel}`, ...(options.reverse ? ['-R'] : [])]
  const udp = rate === undefined ? [] : ['-u', '-b', `${rate}`]
  const target = ['-c', to.address, '-p', `${to.port}`, '--connect-timeout', '3000']
  const client = await lab.exec(from, 'iperf3', [...target, '-J', ...load, ...udp])
  await server.stop()
  if (client.code !== 0) throw new Error(`iperf3 failed: ${client.stdout}${client.stderr}`)
  const { end } = JSON.parse(client.stdout) as IperfJson
  const sum = end.sum_received ?? end.sum
  return {
    bitsPerSecond: sum?.bits_per_second ?? 0,
    retransmits: end.sum_sent?.retransmits ?? 0,
    lost: end.sum?.lost_packets ?? 0,
    datagrams: end.sum?.packets ?? 0,
  }
}
