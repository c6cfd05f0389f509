/**
 * Labels and selectors over them, as Cilium and Kubernetes have them (pkg/labels,
 * pkg/policy/api/selector.go; Kubernetes: "Labels and Selectors").
 *
 * A label's key may begin with its source: `k8s:app`, `reserved:host`. A selector's key without a
 * source, or with `any:`, finds the label of any source. Not here: text forms such as
 * `app in (a, b)`.
 */

/** By key, with its source: {"k8s:app": "web", "k8s:io.kubernetes.pod.namespace": "shop"}. */
export type Labels = Readonly<Record<string, string>>

export type SelectorOperator = 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'

export interface MatchExpression {
  readonly key: string
  readonly operator: SelectorOperator
  /** Of In and NotIn: at least one. */
  readonly values?: readonly string[]
}

/** All of it must match; an empty selector selects everything. */
export interface LabelSelector {
  readonly matchLabels?: Labels
  readonly matchExpressions?: readonly MatchExpression[]
}

const ANY_SOURCE = 'any'
/** Of a label without a source. */
const UNSPECIFIED_SOURCE = 'unspec'

/** Labels of one thing, ready to be asked; made once for each identity and endpoint. */
export class LabelSet {
  readonly #values = new Map<string, string>()
  /** As they were given. */
  readonly labels: Labels
  /** The same for the same labels, in whatever order they were given. */
  readonly text: string

  constructor(labels: Labels) {
    this.labels = labels
    const full = Object.entries(labels).map(([key, value]): [string, string] => {
      const [source, name] = splitKey(key)
      return [`${source === '' ? UNSPECIFIED_SOURCE : source}:${name}`, value]
    })
    full.sort(([a], [b]) => (a < b ? -1 : 1))
    this.text = full.map(([key, value]) => `${key}=${value}`).join(';')
    for (const [key, value] of full) {
      this.#values.set(key, value)
      // Of a name with several sources, the first in this order is what `any:` finds.
      const anyKey = `${ANY_SOURCE}:${splitKey(key)[1]}`
      if (!this.#values.has(anyKey)) this.#values.set(anyKey, value)
    }
  }

  /** Undefined when there is no such label. */
  get(key: string): string | undefined {
    return this.#values.get(normalKey(key))
  }

  /** Every key under which `get` answers, with the value. */
  entries(): IterableIterator<[string, string]> {
    return this.#values.entries()
  }
}

/** A selector's key with its source written out. */
export function normalKey(key: string): string {
  const [source, name] = splitKey(key)
  return `${source === '' ? ANY_SOURCE : source}:${name}`
}

/** "k8s:app" is of source k8s; "app", and "example.org/app", of none. */
function splitKey(key: string): [source: string, name: string] {
  const colon = key.indexOf(':')
  return colon < 0 ? ['', key] : [key.slice(0, colon), key.slice(colon + 1)]
}

export function selects(selector: LabelSelector, labels: LabelSet): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels.get(key) !== value) return false
  }
  return (selector.matchExpressions ?? []).every((expression) => satisfies(expression, labels))
}

/** As in Kubernetes, NotIn is satisfied by what has no such label. */
function satisfies({ key, operator, values }: MatchExpression, labels: LabelSet): boolean {
  const value = labels.get(key)
  switch (operator) {
    case 'In':
      return value !== undefined && (values ?? []).includes(value)
    case 'NotIn':
      return value === undefined || !(values ?? []).includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
  }
}

/** The same for selectors that are written differently but ask for the same. */
export function selectorText(selector: LabelSelector): string {
  const lines = Object.entries(selector.matchLabels ?? {}).map(
    ([key, value]) => `${normalKey(key)}=${value}`,
  )
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    lines.push(`${normalKey(key)} ${operator} ${[...(values ?? [])].sort().join(',')}`)
  }
  return lines.sort().join(';')
}
