/**
 * Sizes of maps that a Node document asks for, and those that are there: maps keep the size that they
 * were made with, for the datapath has them open and connections are in them.
 */
import type { Problem } from '../k8s/problem.js'
import type { NodeDocument } from '../k8s/ringpath-documents.js'
import { DatapathMaps, type MapSizes } from '../pipeline/datapath-maps.js'

export interface SizeChoice {
  /** To open the maps with. */
  readonly sizes: MapSizes
  /** One for each field that does not take effect. */
  readonly problems: readonly Problem[]
}

export function chooseSizes(node: NodeDocument, stateDirectory: string): SizeChoice {
  const wanted = node.spec.maps
  const there = DatapathMaps.sizesIn(stateDirectory)
  if (there === undefined) return { sizes: wanted, problems: [] }
  const fields = Object.keys(wanted) as (keyof typeof wanted)[]
  const problems = fields.flatMap((field): Problem[] => {
    if (wanted[field] === there[field]) return []
    const todo = '"ringpath cleanup --remove" makes new ones, and forgets connections'
    const expected = `${there[field]}, which the maps that are there were made with: ${todo}`
    const object = `Node ${node.metadata.name}`
    const found = `${wanted[field]}`
    return [{ source: stateDirectory, object, field: `spec.maps.${field}`, found, expected }]
  })
  return {
    sizes: problems.length === 0 ? { ...wanted, workers: there.workers ?? 1 } : there,
    problems,
  }
}
