/** Names of the rules that the entries of the policy map were made by. */
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { PolicyValue } from '../policy/policy-key.js'

/** By cookie, of all entries there are; those that `nameOf` does not know are left out. */
export function ruleNames(
  { policyEntries }: DatapathMaps,
  nameOf: (cookie: number) => string | undefined,
): Record<string, string> {
  const names: Record<string, string> = {}
  for (const slot of policyEntries.slots()) {
    const cookie = policyEntries.words[policyEntries.valueStart(slot) + PolicyValue.COOKIE] ?? 0
    if (cookie === 0 || names[cookie] !== undefined) continue
    const name = nameOf(cookie)
    if (name !== undefined) names[cookie] = name
  }
  return names
}
