/** Where a node keeps its things, as its document says or by its name. */
import { join, resolve } from 'node:path'
import type { NodeDocument } from '../k8s/ringpath-documents.js'

export interface NodePaths {
  /** Maps, sockets, logs of the datapath: lost at reboot, as they should be. */
  readonly stateDirectory: string
  /** Documents that came over the API, and the last good ones. */
  readonly dataDirectory: string
  /** Manifests that an operator writes. */
  readonly manifests: string
  readonly apiSocket: string
  /** In a bpffs, for the devices' programs; undefined: they go with the datapath. */
  readonly pinDirectory: string | undefined
}

/** @param directory in which the node's document is */
export function nodePaths({ metadata, spec }: NodeDocument, directory: string): NodePaths {
  const { name } = metadata
  const stateDirectory = resolve(directory, spec.stateDirectory ?? join('/run/ringpath', name))
  const { pin, pinDirectory } = spec.datapath
  // A bpffs takes no dots in names.
  const pins = pinDirectory ?? join('/sys/fs/bpf/ringpath', name.replaceAll('.', '%'))
  return {
    stateDirectory,
    pinDirectory: pin ? resolve(directory, pins) : undefined,
    dataDirectory: resolve(directory, spec.dataDirectory ?? join('/var/lib/ringpath', name)),
    manifests: resolve(directory, spec.manifests ?? '/etc/ringpath/manifests'),
    apiSocket: resolve(directory, spec.api.socket ?? join(stateDirectory, 'api.sock')),
  }
}
