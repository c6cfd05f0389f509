/** A demonstration that stays until it is removed (needs root), and the one without pods. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { Lab } from '../../src/lab/lab.js'
import { namespacesOf } from '../../src/lab/run-record.js'
import { Demo, leftovers } from '../support/demo-process.js'

// It runs programs for seconds, and setting up may be slow on a busy machine.
t.setTimeout(120_000)
const problem = await Lab.problem()
const skip = problem ?? false

t.test('--keep leaves pods that can be played with, until --clean', { skip }, async (t) => {
  const demo = new Demo('--seconds', '10', '--keep')
  t.equal(await demo.end(), 0, demo.output)
  const id = /rp-(\w+)-client/.exec(demo.output)?.[1] ?? ''
  t.equal(namespacesOf(id).length, 5)
  const command = (pod: string) => {
    const args = ['netns', 'exec', `rp-${id}-${pod}`, 'curl', '-sS', '--noproxy', '*']
    const child = spawn('ip', [...args, '--max-time', '2', '10.0.1.10'], { stdio: 'ignore' })
    return once(child, 'close')
  }
  t.same(await command('client'), [0, null])
  t.same(await command('node'), [0, null])
  t.same(await command('intruder'), [28, null], 'curl: operation timed out')
  const clean = new Demo('--clean')
  t.equal(await clean.end(), 0)
  t.match(clean.output, new RegExp(`Removed: namespaces rp-${id}-`))
  t.same(leftovers(id), [])
})

t.test('--simulate says so first, and needs nothing', async (t) => {
  const demo = new Demo('--seconds', '6', '--simulate')
  t.equal(await demo.end(), 0, demo.output)
  t.match(demo.output, /^SIMULATION, as asked for/)
  t.match(demo.output, /As promised/)
})
