/**
 * Which integration tests run beside each other. Most of them wait for packets, timers and starting
 * programs, so several run at once, each in a lab of namespaces of its own (src/lab/lab.ts). Those
 * below need the machine for themselves and run one after the other, when the rest is done.
 */

/** Names of files in test/integration without `.test.ts`, and why each runs alone. */
export const RUN_ALONE = {
  'bench-wire': 'its benchmarks pin their programs to the cores and keep them busy',
  lab: "expects that nobody sweeps up a dead run before it does; every other test's lab would",
  'pktgen-measure': 'judges measured rates and delays',
}

/** Beside each other; a file mostly waits, so one for each core leaves the cores half idle. */
export const lanesOf = (cores) => Math.min(cores + 1, 4)

/**
 * @param {readonly string[]} names
 * @returns {{together: string[], alone: string[]}} in their order
 */
export function planOf(names) {
  const isAlone = (name) => Object.hasOwn(RUN_ALONE, name)
  return { together: names.filter((name) => !isAlone(name)), alone: names.filter(isAlone) }
}
