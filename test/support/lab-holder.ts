/**
 * A program that makes a small lab, says so, and waits to be killed: the victim of lab.test.ts.
 * Argument: what to do then.
 */
import { Lab } from '../../src/lab/lab.js'

const ending = process.argv[2] ?? 'wait'
const lab = await Lab.create({ name: 'holder' })
const node = await lab.namespace('node')
const pod = await lab.pod(node, 'client', { address: '10.0.9.10' })
const child = lab.spawn(pod, 'sleep', ['600'])
process.stdout.write(`lab ${lab.id} child ${child.pid}\n`)

if (ending === 'throw') throw new Error('thrown on purpose')
if (ending === 'exit') process.exit(7)
