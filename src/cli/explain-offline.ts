/** Trace and replay over the files of a node whose agent does not run. */
import type { EndpointRowView } from '../observe/endpoint-view.js'
import { Explainer, type Explanation } from '../observe/explain.js'
import { NameBook } from '../observe/names.js'
import { monotonicSeconds } from '../observe/node-view.js'
import { buildPacket, findEndpoint, type PacketDescription } from '../observe/packet-description.js'
import { type ReplayedFrame, replay } from '../observe/replay.js'
import { DatapathMaps } from '../pipeline/datapath-maps.js'

export function traceOffline(
  directory: string,
  description: PacketDescription,
  endpoints: readonly EndpointRowView[],
): Explanation {
  const { frame, port } = buildPacket(description, endpoints)
  const names = NameBook.ofDirectory(directory)
  const explainer = new Explainer(DatapathMaps.copyOfFiles(directory), names)
  return explainer.run(frame, port, monotonicSeconds())
}

/** @param inEndpoint every frame comes in by its port; else by that of its source MAC */
export function replayOffline(
  directory: string,
  capture: Uint8Array,
  endpoints: readonly EndpointRowView[],
  inEndpoint: string | undefined,
): Generator<ReplayedFrame> {
  const port = inEndpoint === undefined ? {} : { port: findEndpoint(inEndpoint, endpoints).port }
  const maps = DatapathMaps.copyOfFiles(directory)
  const names = NameBook.ofDirectory(directory)
  return replay(capture, maps, names, endpoints, { ...port, nowSeconds: monotonicSeconds() })
}
