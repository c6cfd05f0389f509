/**
 * For its effect alone, before anything else is imported: a process that was told to end does.
 *
 * `process.exit` waits for V8's threads. One of those that compile baseline code (Node 24 and later; in 22
 * they are off) may be waiting for a garbage collection, which nobody makes any more: one in five short
 * commands stood still for good. Without such threads a command takes as long (105 and 108 ms).
 */
import { setFlagsFromString } from 'node:v8'

setFlagsFromString('--no-concurrent-sparkplug')
