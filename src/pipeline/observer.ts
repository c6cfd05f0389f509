/** How an explanation follows a packet through the chain (src/observe/explain.ts). */
import type { Verdict } from '../packet/verdict.js'
import type { PacketContext } from './context.js'

/** In place of a stage's number: the entry of the chain, by the kind of port. */
export const ENTRY = -1

export interface PipelineObserver {
  /** Before the entry; the context is loaded. */
  begins(ctx: PacketContext): void
  /** A stage has run. @param stage a TailCall, or ENTRY */
  passed(ctx: PacketContext, stage: number, verdict: Verdict): void
}
