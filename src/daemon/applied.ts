/**
 * What has been applied to the maps of a state directory, written down beside them: a new agent
 * compares with it instead of writing everything anew. It is lost with the maps, as it must be.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NumberedLabels } from '../policy-rules/identity-registry.js'
import { replaceFile } from './document-store.js'
import { type Change, keyOf, type NodeObject } from './reconcile.js'

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

  /** A record that is missing or damaged is an empty one. */
  constructor(stateDirectory: string) {
    this.#path = join(stateDirectory, FILE_NAME)
    const { objects, identities } = readSaved(this.#path)
    this.#objects = new Map(objects.map((object) => [keyOf(object), object]))
    this.identities = identities
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

function readSaved(path: string): Saved {
  const empty: Saved = { version: 1, objects: [], identities: [] }
  try {
    const saved = JSON.parse(readFileSync(path, 'utf8')) as Saved
    const isRight = saved.version === 1 && Array.isArray(saved.objects)
    return isRight && Array.isArray(saved.identities) ? saved : empty
  } catch {
    return empty
  }
}
