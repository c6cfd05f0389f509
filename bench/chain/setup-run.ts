/**
 * New connections through a chain, as a process that is told what to run, line by line; why in one
 * of its own says chain-run.ts.
 *
 * Arguments: chain, flows that the tables have room for, flows to warm up. `run <flows>` is answered
 * by nanoseconds a flow, each the first time it is seen.
 */
import { createInterface } from 'node:readline'
import { tuneV8 } from '../../src/engine/v8-flags.js'
import type { ChainName } from '../lib/node-scenario.js'
import { ChainRig } from './chain-rig.js'

const [chain = 'outside', room = '100000', warmUp = '0'] = process.argv.slice(2)
// As the datapath's process does.
tuneV8()
const rig = new ChainRig(chain as ChainName, 1, { room: Number(room) })
let nextFlow = 0

/** Nanoseconds of each of so many flows that nobody has seen. */
function connect(flows: number): number {
  rig.aim(nextFlow, flows)
  nextFlow += flows
  return rig.time(flows)
}

connect(Number(warmUp))
console.log('ready')
for await (const line of createInterface(process.stdin)) {
  console.log(connect(Number(line.split(' ')[1])))
}
