/**
 * What has been applied to the maps of a state directory, written down beside them: a new agent
 * compares with it instead of writing everything anew. It is lost with the maps, as it must be.
 */
import { join } from 'node:path'
import type { Problem } from '../k8s/problem.js'
import type { NumberedLabels } from '../policy-rules/identity-registry.js'
import { type Change, keyOf, type NodeObject } from './reconcile.js'
import { readKept, replaceFile } from './state-file.js'

const FILE_NAME = 'applied.json'

interface Saved {
  readonly version: 1
  readonly objects: readonly NodeObject[]
  /** Numbers of labels, so that the same labels keep their identity. */
  readonly identities: readonly NumberedLabels[]
  /** For whoever reads the maps without an agent (src/observe/names.ts). */
  readonly cookies?: Readonly<Record<string, string>>
}

export class Applied {
  readonly #path: string
  readonly #objects: Map<string, NodeObject>
  readonly identities: readonly NumberedLabels[]

  /** What is wrong with the record that was there. */
  readonly problems: readonly Problem[]

  /**
   * A record that is missing is an empty one. So is one that is damaged, for the documents say what
   * to apply, but it is told: what they do not name any more is nobody's to take out of the maps.
   */
  constructor(stateDirectory: string) {
    this.#path = join(stateDirectory, FILE_NAME)
    const { value, damage } = readKept<Saved>(this.#path, { objects: 'list', identities: 'list' })
    const { objects, identities } = value ?? { objects: [], identities: [] }
    this.#objects = new Map(objects.map((object) => [keyOf(object), object]))
    this.identities = identities
    const expected =
      'the record of what was applied: the documents are applied anew, what they do not name may ' +
      'be left in the maps; remove the file, or end all of it by "ringpath cleanup --remove"'
    this.problems =
      damage === undefined
        ? []
        : [{ source: damage.path, object: 'file', field: '', found: damage.found, expected }]
  }

  get objects(): NodeObject[] {
    return [...this.#objects.values()]
  }

  get(key: string): NodeObject | undefined {
    return this.#objects.get(key)
  }

  note(change: Change): void {
    if (change.after === undefined) this.#objects.delete(keyOf(change))
    else this.#objects.set(keyOf(change), change.after)
  }

  forget(object: NodeObject): void {
    this.#objects.delete(keyOf(object))
  }

  /** @param cookies names of rules by the number that policy entries and events have */
  save(identities: readonly NumberedLabels[], cookies: Readonly<Record<string, string>>): void {
    const saved: Saved = { version: 1, objects: this.objects, identities, cookies }
    replaceFile(this.#path, JSON.stringify(saved))
  }
}
