/**
 * Names for the numbers in maps, from what was applied to them: endpoints by id and address,
 * identities by their labels, services by frontend. Without that record numbers stay numbers.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Identity } from '../identity/identity.js'
import { LabelSet, selects } from '../policy-rules/labels.js'
import type { RuleSpec } from '../policy-rules/rule-spec.js'

interface NamedObject {
  readonly kind: string
  readonly name: string
  readonly spec: Readonly<Record<string, unknown>>
}

/** What `applied.json` in a state directory holds (src/daemon/applied.ts). */
export interface AppliedRecord {
  readonly objects: readonly NamedObject[]
  readonly identities: readonly {
    readonly number: number
    readonly labels: Readonly<Record<string, string>>
  }[]
  readonly cookies?: Readonly<Record<string, string>>
}

interface Frontend {
  readonly address: string
  readonly port: number
  readonly protocol: string
}

const RESERVED = new Map<number, string>(
  Object.entries(Identity).map(([name, n]) => [n, `reserved:${name.toLowerCase()}`]),
)
const HOST_ENDPOINT = 65_535
/** Names of objects say their namespace; the default one goes without saying. */
const DEFAULT_NAMESPACE_LABEL = 'k8s:io.kubernetes.pod.namespace=default'

export class NameBook {
  readonly #endpoints = new Map<number, NamedObject>()
  readonly #addresses = new Map<string, string>()
  readonly #labels = new Map<number, Readonly<Record<string, string>>>()
  readonly #frontends = new Map<string, string>()
  readonly #rules: RuleSpec[] = []
  readonly #cookies: Readonly<Record<string, string>>

  constructor(record: AppliedRecord = { objects: [], identities: [] }) {
    this.#cookies = record.cookies ?? {}
    for (const { number, labels } of record.identities) this.#labels.set(number, labels)
    for (const object of record.objects) {
      const { kind, name, spec } = object
      if (kind === 'Endpoint') {
        this.#endpoints.set(Number(spec.id), object)
        this.#addresses.set(String(spec.address), name)
      }
      if (kind === 'Rule') this.#rules.push(spec.rule as RuleSpec)
      if (kind !== 'Service') continue
      const { frontends } = spec.service as { frontends: readonly Frontend[] }
      for (const { address, port, protocol } of frontends) {
        this.#frontends.set(`${address}:${port}/${protocol}`, name)
      }
    }
  }

  /** Of a state directory, whether or not an agent runs. */
  static ofDirectory(directory: string): NameBook {
    try {
      const text = readFileSync(join(directory, 'applied.json'), 'utf8')
      return new NameBook(JSON.parse(text) as AppliedRecord)
    } catch {
      return new NameBook()
    }
  }

  endpoint(id: number): string {
    if (id === HOST_ENDPOINT) return 'host'
    return this.#endpoints.get(id)?.name ?? (id === 0 ? '' : `${id}`)
  }

  /** The number of an endpoint by its name, "default/web" or "web". */
  endpointId(name: string): number | undefined {
    for (const [id, object] of this.#endpoints) {
      if (object.name === name || object.name === `default/${name}`) return id
    }
    return undefined
  }

  endpointLabels(id: number): Readonly<Record<string, string>> {
    return (this.#endpoints.get(id)?.spec.labels ?? {}) as Readonly<Record<string, string>>
  }

  /** The policies that close a direction of an endpoint, by name. */
  policiesClosing(endpoint: number, isEgress: boolean): string[] {
    const labels = new LabelSet(this.endpointLabels(endpoint))
    const closing = this.#rules.filter((rule) => {
      if (!closes(rule, isEgress)) return false
      if (endpoint === HOST_ENDPOINT) return rule.nodeSelector !== undefined
      return rule.endpointSelector !== undefined && selects(rule.endpointSelector, labels)
    })
    return closing.map(({ name }) => name)
  }

  /** Bits per second that an endpoint may send or get, 0 where nothing is said. */
  bandwidthOf(name: string, isEgress: boolean): number {
    for (const object of this.#endpoints.values()) {
      if (object.name !== name) continue
      const bandwidth = (object.spec.bandwidth ?? {}) as BandwidthSpec
      return (isEgress ? bandwidth.egressBitsPerSecond : bandwidth.ingressBitsPerSecond) ?? 0
    }
    return 0
  }

  /** "default/web" for an address of an endpoint here, else ''. */
  ofAddress(address: string): string {
    return this.#addresses.get(address) ?? ''
  }

  /** "k8s:app=web, …" without what every pod has, or "reserved:world". */
  identity(number: number): string {
    return this.identityLabels(number)
      .filter((label) => label !== DEFAULT_NAMESPACE_LABEL)
      .join(', ')
  }

  /** Every label but those of the namespace itself: "k8s:app=web", or "reserved:world" alone. */
  identityLabels(number: number): readonly string[] {
    const reserved = RESERVED.get(number)
    if (reserved !== undefined) return [reserved]
    return labelTexts(this.#labels.get(number) ?? {})
  }

  /** "default/web:80", or '' for a frontend of no service known. */
  service(address: string, port: number, protocol: string): string {
    const own = this.#frontends.get(`${address}:${port}/${protocol}`)
    return own ?? this.#frontends.get(`${address}:${port}/ANY`) ?? ''
  }

  /** The rule that an entry of a policy was made by, as far as the record says. */
  rule(cookie: number): string {
    return this.#cookies[cookie] ?? (cookie === 0 ? '' : `rule #${cookie}`)
  }
}

interface BandwidthSpec {
  readonly egressBitsPerSecond?: number
  readonly ingressBitsPerSecond?: number
}

function closes(rule: RuleSpec, isEgress: boolean): boolean {
  const { enableDefaultDeny, ingress, ingressDeny, egress, egressDeny } = rule
  const has = isEgress ? (egress ?? egressDeny) : (ingress ?? ingressDeny)
  return (isEgress ? enableDefaultDeny?.egress : enableDefaultDeny?.ingress) ?? has !== undefined
}

/** Labels as "key=value", without those of the namespace's own labels. */
function labelTexts(labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels)
    .filter(([key]) => !key.includes('io.cilium.k8s.namespace.labels.'))
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
}
