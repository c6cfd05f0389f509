/**
 * Holds a JSON value against a JSON Schema, as far as test/scenarios/schema.json uses it (draft
 * 2020-12: types, properties, items, enums, patterns, ranges, `anyOf`, references within the file).
 * A keyword that is not known here is refused, so that no rule of the schema is silently void.
 */

export type Schema = Readonly<Record<string, unknown>>
type Rule = (value: unknown, argument: unknown, at: string, schema: Schema) => string[]

const IGNORED = new Set(['$schema', '$defs', 'title', 'description', 'additionalProperties'])

export class SchemaCheck {
  readonly #definitions: Readonly<Record<string, Schema>>
  readonly #root: Schema
  readonly #rules: Readonly<Record<string, Rule>>

  constructor(root: Schema) {
    this.#root = root
    this.#definitions = (root.$defs ?? {}) as Record<string, Schema>
    this.#rules = {
      type: (value, names, at) => wrongType(value, names, at),
      enum: (value, choices, at) => {
        const known = choices as unknown[]
        return known.includes(value)
          ? []
          : [`${at}: ${show(value)}, expected one of ${show(known)}`]
      },
      pattern: (value, source, at) => {
        const isWrong = typeof value === 'string' && !new RegExp(source as string).test(value)
        return isWrong ? [`${at}: ${show(value)}, expected the form ${source}`] : []
      },
      minimum: (value, low, at) =>
        typeof value === 'number' && value < (low as number) ? [`${at}: ${value} < ${low}`] : [],
      maximum: (value, high, at) =>
        typeof value === 'number' && value > (high as number) ? [`${at}: ${value} > ${high}`] : [],
      minLength: (value, low, at) =>
        typeof value === 'string' && value.length < (low as number) ? [`${at}: too short`] : [],
      minItems: (value, low, at) =>
        Array.isArray(value) && value.length < (low as number) ? [`${at}: too few`] : [],
      items: (value, schema, at) => {
        if (!Array.isArray(value)) return []
        return value.flatMap((item, i) => this.#check(item, schema as Schema, `${at}[${i}]`))
      },
      required: (value, names, at) => {
        if (!isObject(value)) return []
        const missing = (names as string[]).filter((name) => !(name in value))
        return missing.map((name) => `${at}: '${name}' is missing`)
      },
      properties: (value, _, at, schema) => this.#properties(value, at, schema),
      propertyNames: (value, schema, at) => {
        if (!isObject(value)) return []
        return Object.keys(value).flatMap((key) =>
          this.#check(key, schema as Schema, `${at}.${key}`),
        )
      },
      anyOf: (value, choices, at) => this.#anyOf(value, choices as Schema[], at),
      $ref: (value, name, at) => this.#check(value, this.#resolve(name as string), at),
    }
  }

  /** What is wrong with the value, each with the path of the key; empty when nothing is. */
  problems(value: unknown): string[] {
    return this.#check(value, this.#root, '')
  }

  #check(value: unknown, schema: Schema, at: string): string[] {
    const found = Object.entries(schema).flatMap(([keyword, argument]) => {
      if (IGNORED.has(keyword)) return []
      const rule = this.#rules[keyword]
      if (rule === undefined) throw new Error(`schema keyword ${keyword} is not supported`)
      return rule(value, argument, at, schema)
    })
    const isOpenTable = schema.properties === undefined && isObject(schema.additionalProperties)
    return isOpenTable ? [...found, ...this.#properties(value, at, schema)] : found
  }

  #properties(value: unknown, at: string, schema: Schema): string[] {
    if (!isObject(value)) return []
    const known = (schema.properties ?? {}) as Record<string, Schema>
    const others = schema.additionalProperties
    return Object.entries(value).flatMap(([key, item]) => {
      const path = at === '' ? key : `${at}.${key}`
      const rule = Object.hasOwn(known, key) ? known[key] : undefined
      if (rule !== undefined) return this.#check(item, rule, path)
      if (others === false) {
        return [`${path}: unknown key, known are ${Object.keys(known).join(', ')}`]
      }
      return isObject(others) ? this.#check(item, others as Schema, path) : []
    })
  }

  /** Of the choices that have the value's type the faults of the nearest are told. */
  #anyOf(value: unknown, choices: readonly Schema[], at: string): string[] {
    const faults = choices.map((choice) => this.#check(value, choice, at))
    if (faults.some((list) => list.length === 0)) return []
    const alike = choices.filter((choice) => this.#hasTypeOf(choice, value))
    const only = alike.length === 1 ? alike[0] : undefined
    if (only !== undefined) return this.#check(value, only, at)
    return [`${at}: ${show(value)} fits none of what is allowed: ${faults.flat().join('; ')}`]
  }

  #hasTypeOf(schema: Schema, value: unknown): boolean {
    const target = typeof schema.$ref === 'string' ? this.#resolve(schema.$ref) : schema
    return target.type !== undefined && wrongType(value, target.type, '').length === 0
  }

  #resolve(reference: string): Schema {
    const name = reference.replace('#/$defs/', '')
    const found = this.#definitions[name]
    if (found === undefined) throw new Error(`schema: ${reference} leads nowhere`)
    return found
  }
}

function wrongType(value: unknown, names: unknown, at: string): string[] {
  const wanted = Array.isArray(names) ? (names as string[]) : [names as string]
  const is = typeName(value)
  if (wanted.includes(is) || (is === 'integer' && wanted.includes('number'))) return []
  return [`${at}: ${show(value)} is of type ${is}, expected ${wanted.join(' or ')}`]
}

function typeName(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (Number.isInteger(value)) return 'integer'
  return typeof value
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const show = (value: unknown): string => JSON.stringify(value)
