/** The topology in real network namespaces, with a datapath process that has taken its devices. */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { getSystemErrorName } from 'node:util'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { DatapathProcess } from '../daemon/datapath-process.js'
import { NodeController } from '../daemon/node-controller.js'
import { type HostPair, Lab, type Namespace, type Pod } from '../lab/lab.js'
import { DatapathMaps } from '../pipeline/datapath-maps.js'
import { PortStatus } from '../port/port-table.js'
import { MAP_SIZES } from './map-sizes.js'
import { removeStateDirectory, stateDirectory, sweepStateDirectories } from './state-directory.js'
import { CLIENT, ECHO, INTRUDER, NODE, POD_CIDR, PODS, WEB } from './topology.js'

export interface LivePods {
  readonly node: Namespace
  readonly web: Pod
  readonly client: Pod
  readonly intruder: Pod
  readonly echo: Pod
}

export interface LiveTopology {
  readonly lab: Lab
  readonly pods: LivePods
  readonly maps: DatapathMaps
  readonly datapath: DatapathProcess
  readonly directory: string
  readonly portNames: ReadonlyMap<number, string>
}

const ATTACH_TIMEOUT_MILLISECONDS = 3_000
const PAGE = '<!doctype html>\n<title>web</title>\n<h1>Hello from the pod named web.</h1>\n'

/**
 * Builds it; what was built is removed again when a part of it fails.
 * @throws RingpathError LAB_SETUP or PORT_ATTACH, whose first line says what this machine lacks
 */
export async function createLiveTopology(): Promise<LiveTopology> {
  const lab = await Lab.create({ name: 'demo', handleSignals: false })
  sweepStateDirectories()
  try {
    return await build(lab)
  } catch (error) {
    await lab.close()
    removeStateDirectory(lab.id)
    throw error
  }
}

async function build(lab: Lab): Promise<LiveTopology> {
  const directory = stateDirectory(lab.id)
  const maps = DatapathMaps.createFiles(directory, MAP_SIZES)
  const www = webDirectory(directory)
  fs.mkdirSync(www)
  fs.writeFileSync(join(www, 'index.html'), PAGE)
  const node = await lab.namespace(NODE.name)
  const made = new Map<string, Pod>()
  for (const { name, address } of PODS) made.set(name, await lab.pod(node, name, { address }))
  const pair = await lab.hostPair(node, { address: NODE.address, podCidr: POD_CIDR })
  const pod = (name: string): Pod => {
    const found = made.get(name)
    if (found === undefined) throw new RingpathError(ErrorCode.LAB_SETUP, `no pod ${name}`)
    return found
  }
  const portNames = configure(new NodeController(maps), pair, pod)
  const networkNamespace = node.netns
  const datapath = await DatapathProcess.start({ stateDirectory: directory, networkNamespace })
  const pods: LivePods = {
    node,
    web: pod(WEB.name),
    client: pod(CLIENT.name),
    intruder: pod(INTRUDER.name),
    echo: pod(ECHO.name),
  }
  const topology = { lab, pods, maps, datapath, directory, portNames }
  await untilAttached(topology)
  return topology
}

export const webDirectory = (directory: string): string => join(directory, 'www')

function configure(
  controller: NodeController,
  pair: HostPair,
  pod: (name: string) => Pod,
): Map<number, string> {
  const names = new Map<number, string>()
  const { netDevice, hostMac, netMac } = pair
  const host = { device: netDevice, addresses: [NODE.address], mac: hostMac, nodeMac: netMac }
  names.set(controller.addHost(host), NODE.name)
  for (const { name, id, identity, address, policy } of PODS) {
    const { device, podMac, hostMac: nodeMac } = pod(name)
    const spec = { id, identity, device, address, mac: podMac, nodeMac }
    names.set(controller.addEndpoint(spec, policy), name)
  }
  return names
}

async function untilAttached({ maps, datapath, portNames }: LiveTopology): Promise<void> {
  const deadline = performance.now() + ATTACH_TIMEOUT_MILLISECONDS
  for (const port of portNames.keys()) {
    for (;;) {
      const { status, errno } = maps.ports.report(port, datapath.pid)
      if (status === PortStatus.ATTACHED) break
      if (status === PortStatus.FAILED || performance.now() > deadline) {
        const why = errno === 0 ? 'no answer' : getSystemErrorName(-errno)
        const device = maps.ports.device(port)
        const text = `AF_XDP: ${device} cannot be attached (${why})`
        await datapath.stop()
        throw new RingpathError(ErrorCode.PORT_ATTACH, text)
      }
      await sleep(20)
    }
  }
}
