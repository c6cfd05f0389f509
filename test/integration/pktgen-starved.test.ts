/**
 * A busy machine does not falsify what pktgen tells: programs that stand still for a while, here
 * because they are stopped, lose nothing, and what they could not take or send they tell. Nor does a
 * device that goes down, or away.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { runOrFail } from '../../src/lab/command.js'
import type { RunResult } from '../../src/pktgen/run.js'
import { SINK_HOOKS, Sink, type SinkHook } from '../../src/pktgen/sink.js'
import { PktgenLab, RECEIVER } from '../support/pktgen-lab.js'

/** A sink on the receiver's end, and its process. */
async function sinkOf(lab: PktgenLab, hook: SinkHook) {
  const { netns } = lab.receiver
  const sink = await Sink.start({ device: 'in0', hook, flows: 1, namespace: netns })
  // From outside: within the namespace it would find itself, first when process ids begin anew.
  const stdout = await runOrFail('ip', ['netns', 'pids', netns])
  const pid = Number(stdout.split('\n')[0])
  if (!(pid > 0)) throw new Error(`no sink runs in ${netns}`)
  return { sink, pid }
}

for (const hook of SINK_HOOKS) {
  t.test(`a sink at ${hook} that stood still for half a second has counted all`, async (t) => {
    const lab = await PktgenLab.direct()
    t.teardown(() => lab.close())
    if (hook === 'tc') await lab.receiveByStack()
    const { sink, pid } = await sinkOf(lab, hook)
    process.kill(pid, 'SIGSTOP')
    await lab.result(`--to ${RECEIVER} --count 2000 --rate 4000`)
    process.kill(pid, 'SIGCONT')
    t.match(await sink.read(), { frames: 2000, dropped: 0, duplicates: 0, reordered: 0 })
    await sink.close()
  })

  t.test(`a reset of a sink at ${hook} is done when it says so, not before`, async (t) => {
    const lab = await PktgenLab.direct()
    t.teardown(() => lab.close())
    const { sink, pid } = await sinkOf(lab, hook)
    process.kill(pid, 'SIGSTOP')
    const reset = sink.reset().then(() => 'reset')
    t.equal(await Promise.race([reset, sleep(300, 'waiting')]), 'waiting')
    process.kill(pid, 'SIGCONT')
    t.equal(await reset, 'reset')
    await sink.close()
  })
}

t.test('what an af-xdp sink had no room for is told apart from other losses', async (t) => {
  const lab = await PktgenLab.direct()
  t.teardown(() => lab.close())
  const { sink, pid } = await sinkOf(lab, 'af-xdp')
  process.kill(pid, 'SIGSTOP')
  await lab.result(`--to ${RECEIVER} --count 5000 --rate 20000`)
  process.kill(pid, 'SIGCONT')
  const { frames, dropped } = await sink.read()
  t.ok(frames >= 2000 && dropped > 0, `${frames} counted, ${dropped} dropped`)
  t.equal(frames + dropped, 5000)
  await sink.reset()
  t.match(await sink.read(), { frames: 0, dropped: 0 })
  await sink.close()
})

t.test('what the device never took was not sent', async (t) => {
  const lab = await PktgenLab.direct()
  t.teardown(() => lab.close())
  const words = `--engine af-xdp --to ${RECEIVER} SINK --size imix --rate 2000 --seconds 5 -o json`
  const child = lab.start(words)
  await child.waitForOutput(/"interval"/)
  await lab.lab.ip(lab.sender, ['link set out0 down'])
  await child.ended
  const result = JSON.parse(child.output.trim().split('\n').at(-1) ?? '') as RunResult
  t.ok(result.sent > 500 && result.sent < 9_000, `${result.sent} were sent`)
  t.match(result, { received: result.sent, receivedBytes: result.sentBytes, lost: 0 })
})

for (const hook of ['xdp', 'tc', 'af-xdp']) {
  t.test(`${hook}: a sink whose device goes away ends the run, and says so`, async (t) => {
    const lab = await PktgenLab.bridged('pfifo')
    t.teardown(() => lab.close())
    const child = lab.start(`--to ${RECEIVER} SINK --sink-hook ${hook} --rate 2000 --seconds 20`)
    await child.waitForOutput(/received/)
    await lab.lab.ip(lab.receiver, ['link del in0'])
    const ended = await Promise.race([child.ended, sleep(5_000, 'it goes on')])
    t.match(ended, { code: 1 })
    t.match(child.output, /sink: in0, expected a device that stays: it went away/)
    t.notMatch(child.output, /lost/)
  })
}

for (const engine of ['xdp', 'af-xdp']) {
  t.test(`${engine}: a device that goes away ends the run, and says so`, async (t) => {
    const lab = await PktgenLab.direct()
    t.teardown(() => lab.close())
    const child = lab.start(`--engine ${engine} --to ${RECEIVER} SINK --rate 2000 --count 1000000`)
    await child.waitForOutput(/received/)
    await lab.lab.ip(lab.sender, ['link del out0'])
    const ended = await Promise.race([child.ended, sleep(5_000, 'it goes on')])
    t.match(ended, { code: 1 })
    t.match(child.output, /device: out0, expected one that stays: it went away after \d+ frames/)
  })
}
