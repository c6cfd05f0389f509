/** Where a node keeps its things, as its document says or by its name. */
import { join } from 'node:path'
import type { NodeDocument } from '../k8s/ringpath-documents.js'

export interface NodePaths {
  /** Maps, sockets, logs of the datapath: lost at reboot, as they should be. */
  readonly stateDirectory: string
  /** Documents that came over the API, and the last good ones. */
  readonly dataDirectory: string
  /** Manifests that an operator writes. */
  readonly manifests: string
  readonly apiSocket: string
}

export function nodePaths({ metadata, spec }: NodeDocument): NodePaths {
  const stateDirectory = spec.stateDirectory ?? join('/run/ringpath', metadata.name)
  return {
    stateDirectory,
    dataDirectory: spec.dataDirectory ?? join('/var/lib/ringpath', metadata.name),
    manifests: spec.manifests ?? '/etc/ringpath/manifests',
    apiSocket: spec.api.socket ?? join(stateDirectory, 'api.sock'),
  }
}
