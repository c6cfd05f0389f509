/**
 * Things with a label selector, found by labels without asking each: one that demands a label is
 * kept under it, the others are asked always.
 */
import { type LabelSelector, type LabelSet, normalKey, selects } from './labels.js'

export class SelectorIndex<T> {
  readonly #byLabel = new Map<string, Map<T, LabelSelector>>()
  readonly #others = new Map<T, LabelSelector>()

  add(item: T, selector: LabelSelector): void {
    const label = demandedLabel(selector)
    if (label === undefined) {
      this.#others.set(item, selector)
      return
    }
    const items = this.#byLabel.get(label)
    if (items === undefined) this.#byLabel.set(label, new Map([[item, selector]]))
    else items.set(item, selector)
  }

  delete(item: T, selector: LabelSelector): void {
    const label = demandedLabel(selector)
    if (label === undefined) {
      this.#others.delete(item)
      return
    }
    const items = this.#byLabel.get(label)
    items?.delete(item)
    if (items?.size === 0) this.#byLabel.delete(label)
  }

  *matching(labels: LabelSet): Generator<T> {
    for (const [key, value] of labels.entries()) {
      const items = this.#byLabel.get(`${key}=${value}`)
      if (items !== undefined) yield* selected(items, labels)
    }
    yield* selected(this.#others, labels)
  }
}

function* selected<T>(items: ReadonlyMap<T, LabelSelector>, labels: LabelSet): Generator<T> {
  for (const [item, selector] of items) if (selects(selector, labels)) yield item
}

function demandedLabel(selector: LabelSelector): string | undefined {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    return `${normalKey(key)}=${value}`
  }
  return undefined
}
