/**
 * The traffic of the tests on real namespaces is that of the demo: the same programs, the same
 * wrappers.
 */
export * from '../../src/lab/traffic.js'
