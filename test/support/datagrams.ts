/** Datagrams of any size between real programs, and what the kernels counted of them. */
import type { Lab, Namespace } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'

/** Answers each datagram with itself until stopped; resolves when it listens. */
export async function datagramEcho(
  lab: Lab,
  ns: Namespace,
  address: string,
  port: number,
): Promise<LabProcess> {
  const script = [
    'import socket',
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    `s.bind(('${address}', ${port}))`,
    "print('listening', flush=True)",
    'while True:',
    '  data, peer = s.recvfrom(65535)',
    '  s.sendto(data, peer)',
  ].join('\n')
  const echo = lab.spawn(ns, 'python3', ['-c', script])
  await echo.waitForOutput(/listening/)
  return echo
}

/**
 * Sends random datagrams of so many bytes from one socket, one after another, and prints how many
 * came back as they were within two seconds; before that, a line for each that failed.
 */
export async function datagramEchoes(
  lab: Lab,
  from: Namespace,
  to: { readonly address: string; readonly port: number },
  bytes: number,
  count: number,
): Promise<string> {
  const script = [
    'import os, socket',
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    's.settimeout(2)',
    `s.connect(('${to.address}', ${to.port}))`,
    'intact = 0',
    `for i in range(${count}):`,
    `  data = os.urandom(${bytes})`,
    '  s.send(data)',
    '  try: intact += s.recv(65535) == data',
    '  except OSError as error: print(type(error).__name__)',
    'print(intact)',
  ].join('\n')
  const { stdout, stderr } = await lab.exec(from, 'python3', ['-c', script])
  return `${stdout}${stderr}`.trim()
}

/** A field of /proc/net/snmp of a namespace, such as `ReasmFails` of `Ip`. */
export async function kernelCounter(
  lab: Lab,
  ns: Namespace,
  protocol: string,
  field: string,
): Promise<number> {
  const { stdout } = await lab.exec(ns, 'cat', ['/proc/net/snmp'])
  const [head = '', values = ''] = stdout.split('\n').filter((l) => l.startsWith(`${protocol}:`))
  return Number(values.split(' ')[head.split(' ').indexOf(field)])
}
