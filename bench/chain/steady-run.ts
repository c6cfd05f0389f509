/**
 * Runs the chain until it is hot, prints STEADY, and runs it on: what bench/profile.ts looks at.
 * Arguments: flows, frames after the mark, chain.
 */
import { writeSync } from 'node:fs'
import type { ChainName } from '../lib/node-scenario.js'
import { ChainRig } from './chain-rig.js'

/** Known to bench/profile.ts. */
export const STEADY_MARK = '=== steady ==='
const WARM_UP_FRAMES = 2_000_000
const WARM_UP_PIECES = 8
const STDOUT = 1

const [flows = '1000', frames = '3000000', chain = 'full'] = process.argv.slice(2)
const rig = new ChainRig(chain as ChainName, Number(flows))
// In pieces, so that V8 sees the loop end before it is looked at.
for (let piece = 0; piece < WARM_UP_PIECES; piece++) rig.run(WARM_UP_FRAMES / WARM_UP_PIECES)
// Not through the stream, which writes later than V8 does.
writeSync(STDOUT, `${STEADY_MARK}\n`)
rig.run(Number(frames))
