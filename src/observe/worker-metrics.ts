/** Metrics of the workers: time, stages, collections, heap, and the rings of ports. */
import {
  GC_KINDS,
  RING_CELLS,
  RingCell,
  TimedPass,
  WORKER_STATES,
  WorkerCell,
} from '../monitor/worker-statistics.js'
import type { NodeView } from './node-view.js'
import { stageName } from './stage-names.js'

type Values = () => Iterable<readonly [Readonly<Record<string, string>>, number]>

/** Makes a metric of a registry. */
export type AddMetric = (
  name: string,
  help: string,
  labelNames: readonly string[],
  values: Values,
) => void

const SECONDS_PER_NANOSECOND = 1e-9
const PASSES = new Map<number, string>([
  [TimedPass.ENTRY, 'entry'],
  [TimedPass.LANE, 'flow lane'],
  [TimedPass.PARSE, 'parse'],
  [TimedPass.TOUCH, 'touch'],
])
const TIMED_MAX = TimedPass.TOUCH

export function addWorkerMetrics(view: NodeView, counter: AddMetric, gauge: AddMetric): void {
  const rows = (): { worker: string; cell: (index: number) => number }[] =>
    Array.from({ length: view.maps.workers }, (_, worker) => {
      const row = view.maps.workerStatistics.row(worker)
      return { worker: `${worker}`, cell: (index) => row[index] ?? 0 }
    })
  const one = (add: AddMetric, name: string, help: string, index: number): void =>
    add(name, help, ['worker'], () => rows().map(({ worker, cell }) => [{ worker }, cell(index)]))
  one(counter, 'ringpath_worker_frames_total', 'Frames that a worker handled', WorkerCell.FRAMES)
  one(counter, 'ringpath_worker_bursts_total', 'Bursts that had frames', WorkerCell.BURSTS)
  one(
    counter,
    'ringpath_worker_repeated_frames_total',
    'Frames that the flow lane carried past the stages',
    WorkerCell.REPEATED,
  )
  one(counter, 'ringpath_worker_sleeps_total', 'Times that a worker slept', WorkerCell.SLEEPS)
  one(gauge, 'ringpath_worker_heap_used_bytes', 'Heap of a worker in use', WorkerCell.HEAP_USED)
  one(gauge, 'ringpath_worker_heap_total_bytes', 'Heap of a worker', WorkerCell.HEAP_TOTAL)
  counter(
    'ringpath_worker_time_seconds_total',
    'What a worker did with its time: busy with frames, spinning over empty rings, asleep',
    ['worker', 'state'],
    () =>
      rows().flatMap(({ worker, cell }) =>
        WORKER_STATES.map((state, i) => [{ worker, state }, cell(WorkerCell.STATES + i)] as const),
      ),
  )
  const collections =
    (offset: number): Values =>
    () =>
      rows().flatMap(({ worker, cell }) =>
        GC_KINDS.map(
          (kind, i) => [{ worker, kind }, cell(WorkerCell.COLLECTIONS + 2 * i + offset)] as const,
        ),
      )
  const gc = ['worker', 'kind']
  counter('ringpath_worker_gc_total', 'Garbage collections of a worker', gc, collections(0))
  counter('ringpath_worker_gc_seconds_total', 'Pauses by collections', gc, collections(1))
  addStages(view, counter)
  addRings(view, counter, gauge)
}

function addStages(view: NodeView, counter: AddMetric): void {
  const sampled =
    (offset: number, scale: number): Values =>
    () => {
      const found: (readonly [Readonly<Record<string, string>>, number])[] = []
      for (let stage = 0; stage <= TIMED_MAX; stage++) {
        const at = WorkerCell.STAGES + 2 * stage
        if (view.maps.workerStatistics.sum(at) === 0) continue
        const name = PASSES.get(stage) ?? stageName(stage)
        found.push([{ stage: name }, view.maps.workerStatistics.sum(at + offset) * scale])
      }
      return found
    }
  counter(
    'ringpath_stage_sampled_packets_total',
    'Packets of which a stage or pass was timed: a sample',
    ['stage'],
    sampled(0, 1),
  )
  counter(
    'ringpath_stage_sampled_seconds_total',
    'Time of those packets there; by their number, the time of a packet',
    ['stage'],
    sampled(1, SECONDS_PER_NANOSECOND),
  )
}

function addRings(view: NodeView, counter: AddMetric, gauge: AddMetric): void {
  const labels = ['device', 'endpoint', 'kind']
  const add = (make: AddMetric, name: string, help: string, index: number): void =>
    make(name, help, labels, () =>
      view.endpoints().map(({ device, name: endpoint, kind, port }) => {
        const value = view.maps.portRings.sum(port * RING_CELLS + index)
        return [{ device, endpoint, kind }, value] as const
      }),
    )
  add(
    gauge,
    'ringpath_port_ring_receive_frames',
    'Frames on the fill and receive rings of a port, and between them',
    RingCell.FRAMES_RECEIVING,
  )
  add(
    gauge,
    'ringpath_port_ring_transmit_frames',
    'Frames on the transmit and completion rings of a port, and between them',
    RingCell.FRAMES_SENDING,
  )
  add(counter, 'ringpath_port_kicks_total', 'Calls that asked the kernel to send', RingCell.KICKS)
  add(
    counter,
    'ringpath_port_kick_errors_total',
    'Of those, calls after which the kernel had taken nothing (EAGAIN, EBUSY, ENOBUFS)',
    RingCell.KICK_ERRORS,
  )
  add(
    counter,
    'ringpath_port_fill_ring_empty_total',
    'Times that a frame came to a port and found no free one to be put in',
    RingCell.FILL_RING_EMPTY,
  )
}
