/**
 * The documents that a node has: those of its manifest directory, by file, and those that came over
 * the API, by object. What is valid replaces what was there; what is not leaves the last good
 * version in force, over restarts too. Kept in one file, replaced whole.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { type DesiredState, desiredState } from '../k8s/desired-state.js'
import { type Document, readDocuments } from '../k8s/documents.js'
import type { Problem } from '../k8s/problem.js'
import type { NodeDocument } from '../k8s/ringpath-documents.js'
import { DamagedFile, NotWritten, readStateFile, replaceFile } from './state-file.js'

/** What documents of the API are said to come from. */
export const API_SOURCE = 'api'

interface Saved {
  readonly version: 1
  /** Last good text of each manifest file. */
  readonly files: Readonly<Record<string, string>>
  /** Documents of the API by key, as given. */
  readonly objects: Readonly<Record<string, unknown>>
}

const EMPTY: Saved = { version: 1, files: {}, objects: {} }
const EMPTY_TEXT = JSON.stringify(EMPTY)

/** What a change would come to, or why it is refused. */
export interface Proposal {
  readonly state: DesiredState
  readonly problems: readonly Problem[]
  /**
   * Writes it down and makes it so; NotWritten, with nothing changed, when that cannot be. Not there
   * when there are problems.
   */
  readonly commit?: () => void
}

export class DocumentStore {
  readonly #path: string
  readonly #node: NodeDocument
  #saved: Saved
  #state: DesiredState
  /** Undefined while there is no file. */
  #textOfFile: string | undefined
  #isBehind = false

  /**
   * @param path of the file that keeps them; none is there at first
   * @throws RingpathError CONFIG_INVALID when the file is damaged: without its policies the node
   *   would be open, and nobody could tell which there were
   */
  constructor(path: string, node: NodeDocument) {
    this.#path = path
    this.#node = node
    const saved = readSaved(path)
    this.#textOfFile = saved === undefined ? undefined : JSON.stringify(saved)
    this.#saved = saved ?? EMPTY
    this.#state = this.#judge(this.#saved).state
  }

  /** All documents in force, as a state. */
  get state(): DesiredState {
    return this.#state
  }

  /** What `setFiles` was told last could not be written down: to be told again. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  /**
   * The manifest directory as it is now, by file name. Files that are wrong, alone or together with
   * others, keep their last good version; the rest takes effect.
   *
   * @param unreadable files that are there and could not be read: they stay as they were
   * @returns what is wrong
   */
  setFiles(
    texts: ReadonlyMap<string, string>,
    unreadable: Iterable<string> = [],
  ): readonly Problem[] {
    this.#isBehind = false
    const problems: Problem[] = []
    const files: Record<string, string> = {}
    const refused = new Set<string>()
    const refuse = (name: string): void => {
      refused.add(name)
      const before = this.#saved.files[name]
      if (before === undefined) delete files[name]
      else files[name] = before
    }
    for (const name of unreadable) refuse(name)
    for (const [name, text] of texts) {
      files[name] = text
      const found = readDocuments(text, name).problems
      if (found.length === 0) continue
      problems.push(...found)
      refuse(name)
    }
    // Each round refuses one more file at least.
    for (;;) {
      const next: Saved = { ...this.#saved, files: { ...files } }
      const judged = this.#judge(next)
      const fresh = judged.problems.filter(({ source }) => !refused.has(source))
      const culprits = fresh.filter(({ source }) => files[source] !== this.#saved.files[source])
      if (judged.problems.length === 0 || culprits.length === 0) {
        problems.push(...judged.problems)
        if (judged.problems.length === 0) problems.push(...this.#keep(next, judged.state))
        return problems
      }
      problems.push(...culprits)
      for (const { source } of culprits) refuse(source)
    }
  }

  get hasFiles(): boolean {
    return Object.keys(this.#saved.files).length > 0
  }

  /** Documents of a request, all of them or none. */
  proposeApply(text: string): Proposal {
    const { documents, problems } = readDocuments(text, API_SOURCE)
    const objects = { ...this.#saved.objects }
    const wrong = [...problems]
    for (const document of documents) {
      const file = this.#fileOf(document.key)
      if (file !== undefined) wrong.push(declaredIn(document, file))
      objects[document.key] = document.raw.value
    }
    return this.#propose({ ...this.#saved, objects }, wrong)
  }

  /** Undefined when the API has no such document; `key` is "Service default/web". */
  proposeDelete(key: string): Proposal | undefined {
    if (!Object.hasOwn(this.#saved.objects, key)) return undefined
    const { [key]: _gone, ...objects } = this.#saved.objects
    return this.#propose({ ...this.#saved, objects }, [])
  }

  /** The manifest file that declares an object; undefined for one of the API, or none. */
  fileOf(key: string): string | undefined {
    return this.#fileOf(key)
  }

  #fileOf(key: string): string | undefined {
    const document = this.#state.documents.find((d) => d.key === key)
    return document === undefined || document.source === API_SOURCE ? undefined : document.source
  }

  #propose(next: Saved, wrong: readonly Problem[]): Proposal {
    if (wrong.length > 0) return { state: this.#state, problems: wrong }
    const { state, problems } = this.#judge(next)
    if (problems.length > 0) return { state: this.#state, problems }
    return { state, problems, commit: () => this.#commit(next, state) }
  }

  #judge(saved: Saved): { state: DesiredState; problems: readonly Problem[] } {
    const documents: Document[] = []
    const problems: Problem[] = []
    const read = (text: string, source: string): void => {
      const found = readDocuments(text, source)
      documents.push(...found.documents)
      problems.push(...found.problems)
    }
    for (const name of Object.keys(saved.files).sort()) read(saved.files[name] ?? '', name)
    for (const value of Object.values(saved.objects)) read(JSON.stringify(value), API_SOURCE)
    const judged = desiredState(documents, this.#node)
    return { state: judged.state, problems: [...problems, ...judged.problems] }
  }

  /** Of files, which can be read again: what cannot be written down is a problem of theirs. */
  #keep(next: Saved, state: DesiredState): Problem[] {
    try {
      this.#commit(next, state)
      return []
    } catch (error) {
      if (!(error instanceof NotWritten)) throw error
      this.#isBehind = true
      if (this.#textOfFile === undefined) {
        // A node that begins has no state that could stay: nothing at all would be in force.
        this.#saved = next
        this.#state = state
      }
      return [error.problem]
    }
  }

  #commit(next: Saved, state: DesiredState): void {
    const text = JSON.stringify(next)
    if (text !== (this.#textOfFile ?? EMPTY_TEXT)) {
      replaceFile(this.#path, text)
      this.#textOfFile = text
    }
    this.#saved = next
    this.#state = state
  }
}

function declaredIn(document: Document, file: string): Problem {
  const { object, source } = document.raw
  const expected = `a change in ${file}, which declares it`
  return { source, object, field: '', found: 'the same object', expected }
}

function readSaved(path: string): Saved | undefined {
  try {
    return readStateFile<Saved>(path, { files: 'texts', objects: 'record' })
  } catch (error) {
    if (!(error instanceof DamagedFile)) throw error
    const expected = 'the documents of this node, version 1'
    const remedy = 'restore it, or move it away to begin without these documents'
    const text = `${path}: ${error.found}, expected ${expected}: ${remedy}`
    throw new RingpathError(ErrorCode.CONFIG_INVALID, text, error)
  }
}
