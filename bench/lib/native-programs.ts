/** Builds the benchmarks' native programs (bench/Makefile) where their sources are newer. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const SOURCES = fileURLToPath(new URL('../../../bench/', import.meta.url))
const GENERATOR_SOURCES = fileURLToPath(new URL('../../../generator/', import.meta.url))
const PROGRAMS = fileURLToPath(new URL('../../../build/bench/', import.meta.url))

/** Where a program, or an object with XDP programs, is when it is built. */
export const programPath = (name: string): string => `${PROGRAMS}${name}`

/**
 * One at a time on this checkout: of two makes beside each other, each would find the other's half
 * linked program and take it for a whole one. The lock is on the folder of the sources.
 *
 * @param targets as bench/Makefile names them; all of them when empty
 * @throws with what make printed in `stderr`
 */
export function buildPrograms(...targets: readonly string[]): void {
  make(SOURCES, targets)
}

/** The product's, which the benchmarks on the wire send and count with. */
export function buildGenerator(): void {
  make(GENERATOR_SOURCES, [])
}

function make(sources: string, targets: readonly string[]): void {
  const words = ['make', '-s', '-C', sources, ...targets]
  execFileSync('flock', [sources, ...words], { stdio: ['ignore', 'ignore', 'pipe'] })
}
