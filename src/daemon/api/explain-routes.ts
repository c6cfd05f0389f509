/** Trace, replay and "why" for the API, each on copies of the node's maps. */
import { Explainer } from '../../observe/explain.js'
import type { Flow } from '../../observe/flow.js'
import { monotonicSeconds } from '../../observe/node-view.js'
import {
  buildPacket,
  findEndpoint,
  type PacketDescription,
} from '../../observe/packet-description.js'
import { replay } from '../../observe/replay.js'
import { whyDropped } from '../../observe/why.js'
import { DatapathMaps } from '../../pipeline/datapath-maps.js'
import type { Agent } from '../agent.js'
import { HttpError } from './problem.js'
import type { Request, StreamReply } from './route.js'

export function tracePacket(agent: Agent, description: object) {
  const { frame, port } = buildPacket(description as PacketDescription, agent.view.endpoints())
  return explainerOf(agent).run(frame, port, monotonicSeconds())
}

export const explainFlow = (agent: Agent, flow: Flow) =>
  whyDropped(flow, agent.maps, agent.view.names, explainerOf(agent), monotonicSeconds())

export function replayCapture(agent: Agent, { body, query }: Request): StreamReply {
  if (!(body instanceof Uint8Array)) throw new HttpError(415, 'expected a capture file')
  const endpoints = agent.view.endpoints()
  const wanted = query.in as string | undefined
  const port = wanted === undefined ? {} : { port: findEndpoint(wanted, endpoints).port }
  const maps = copyOf(agent)
  const options = { ...port, nowSeconds: monotonicSeconds() }
  const frames = replay(body, maps, agent.view.names, endpoints, options)
  async function* lines() {
    for (const frame of frames) yield `${JSON.stringify(frame)}\n`
  }
  return { contentType: 'application/x-ndjson', chunks: lines() }
}

const explainerOf = (agent: Agent): Explainer => new Explainer(copyOf(agent), agent.view.names)

const copyOf = (agent: Agent): DatapathMaps => DatapathMaps.copyOfFiles(agent.paths.stateDirectory)
