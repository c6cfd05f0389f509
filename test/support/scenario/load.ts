/**
 * Finds and reads the scenario files. A file that does not fit test/scenarios/schema.json is refused
 * with its name, the scenario's and the key's.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Schema, SchemaCheck } from './json-schema.js'
import type { NodeSpec, Scenario, ScenarioFile, Step } from './types.js'

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url))
export const SCENARIOS_DIRECTORY = join(ROOT, 'test/scenarios')

export interface LoadedScenario {
  /** As "pods/delivery.json". */
  readonly file: string
  readonly scenario: Scenario
  /** The file's node with the scenario's additions. */
  readonly node: NodeSpec
}

const schema = JSON.parse(readFileSync(join(SCENARIOS_DIRECTORY, 'schema.json'), 'utf8')) as Schema
const check = new SchemaCheck(schema)

/** Every scenario of the project; `SCENARIO=part` keeps those with it in file or name. */
export function loadScenarios(part = process.env.SCENARIO ?? ''): LoadedScenario[] {
  const paths = readdirSync(SCENARIOS_DIRECTORY, { recursive: true, encoding: 'utf8' })
  const files = paths.filter((path) => path.endsWith('.json') && path !== 'schema.json').sort()
  const all = files.flatMap((path) => loadFile(join(SCENARIOS_DIRECTORY, path)))
  return all.filter(({ file, scenario }) => `${file} ${scenario.name}`.includes(part))
}

export function loadFile(path: string): LoadedScenario[] {
  return parseFile(relative(SCENARIOS_DIRECTORY, path), readFileSync(path, 'utf8'))
}

export function parseFile(file: string, text: string): LoadedScenario[] {
  const content: unknown = JSON.parse(text)
  const problems = check.problems(content)
  if (problems.length > 0)
    throw new Error(problems.map((p) => located(file, content, p)).join('\n'))
  const { node = {}, scenarios } = content as ScenarioFile
  return scenarios.map((scenario) => {
    scenario.steps.forEach((step, i) => {
      const fault = faultOfStep(step)
      if (fault !== '')
        throw new Error(`${file}: scenario '${scenario.name}': steps[${i}]: ${fault}`)
    })
    return { file, scenario, node: mergeNodes(node, scenario.node ?? {}) }
  })
}

/** "pods/x.json: scenario 'name': steps[0].expect.drpo: unknown key". */
function located(file: string, content: unknown, problem: string): string {
  const match = /^scenarios\[(\d+)\]\.?(.*)$/s.exec(problem)
  if (match === null) return `${file}: ${problem}`
  const scenario = (content as ScenarioFile).scenarios[Number(match[1])]
  return `${file}: scenario '${scenario?.name}': ${match[2]}`
}

function faultOfStep(step: Step): string {
  const hasFrame = step.frame !== undefined || step.again !== undefined
  const isOther =
    step.seconds !== undefined || step.change !== undefined || step.state !== undefined
  if (hasFrame && isOther) return 'a frame and something else in one step'
  if (!hasFrame && !isOther) return 'neither a frame nor a change, seconds or state'
  if (!hasFrame) return step.in === undefined ? '' : "'in' without a frame"
  if (step.frame !== undefined && step.again !== undefined) return "'frame' and 'again'"
  if (step.frame !== undefined && step.in === undefined) return "a frame without 'in'"
  const { out, drop, consumed, answer } = step.expect ?? {}
  if (answer !== undefined && drop === undefined) return "an 'answer' without a drop"
  const verdicts = [out, drop, consumed].filter((verdict) => verdict !== undefined)
  return verdicts.length === 1 ? '' : "'expect' needs one of out, drop, consumed"
}

/** Lists are appended, tables merged, single values replaced. */
export function mergeNodes(base: NodeSpec, more: NodeSpec): NodeSpec {
  const merged: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(more)) {
    const before = merged[key]
    if (Array.isArray(before)) merged[key] = [...before, ...(value as unknown[])]
    else if (typeof before === 'object') merged[key] = { ...before, ...(value as object) }
    else merged[key] = value
  }
  return merged
}
