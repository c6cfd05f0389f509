/** Times new connections: arguments are the way, flows, and rounds. For measuring by hand. */
import { performance } from 'node:perf_hooks'
import { tuneV8 } from '../../src/engine/v8-flags.js'
import { SetupRig, type SetupWay } from './setup-rig.js'

tuneV8()
const [way = 'full', flows = '65536', rounds = '5'] = process.argv.slice(2)
const rig = new SetupRig(way as SetupWay, Number(flows))
for (let made = 0; made < 400_000; made += Number(flows)) {
  rig.open()
  rig.goOn()
  rig.expire()
}
const timed = (run: () => void): number => {
  const begin = performance.now()
  run()
  return ((performance.now() - begin) * 1e6) / rig.flows
}
const open: number[] = []
const goOn: number[] = []
for (let round = 0; round < Number(rounds); round++) {
  rig.prepareOnly()
  const empty = timed(() => rig.prepareOnly())
  open.push(timed(() => rig.open()) - empty)
  goOn.push(timed(() => rig.goOn()) - empty)
  rig.expire()
}
const median = (v: number[]) => (v.sort((a, b) => a - b)[v.length >> 1] ?? 0).toFixed(0)
console.log(
  `${way} ${flows}: new ${median(open)} ns, further ${median(goOn)} ns  [${open.map((v) => v.toFixed(0)).join(' ')}]`,
)
