/**
 * A plan as the generator in the kernel reads it: `struct generator_plan` of generator/plan.h,
 * little-endian, with the compiler's own alignment.
 */
import * as checksums from '../wire/checksum.js'
import { type FrameTemplate, TEMPLATE_BYTES, type TrafficPlan } from './plan.js'
import { TRAFFIC_MODES, type ValueRange } from './traffic-spec.js'

const VERSION = 2
const TEMPLATES_MAX = 8
const SCHEDULE_MAX = 1024
const SETTINGS_BYTES = 104
const TEMPLATE_STRUCT_BYTES = 88
const HEADER_AT = 24
const SETTINGS_AT = 8
const TEMPLATES_AT = SETTINGS_AT + SETTINGS_BYTES
const SCHEDULE_AT = TEMPLATES_AT + TEMPLATES_MAX * TEMPLATE_STRUCT_BYTES
export const PLAN_BYTES = SCHEDULE_AT + SCHEDULE_MAX

/** Where a header has them, in network order. */
const IPV4_CHECKSUM = 10
const IPV4_SOURCE = 12
const IPV4_DESTINATION = 16

/** The loader fills in the device that it is started with. */
const NO_DEVICE = 0
const NANOSECONDS = 1e9
const FIXED_POINT = 65_536
/** Frames that are sent together: few at a low rate, so that none waits for others. */
const BATCH_MAX = 64
const BATCH_MIN = 1
/** A batch is at most what falls due within so long. */
const BATCH_NANOSECONDS = 20_000

export function planBytes(plan: TrafficPlan): Uint8Array {
  const bytes = new Uint8Array(PLAN_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, VERSION, true)
  view.setUint32(4, PLAN_BYTES, true)
  writeSettings(new DataView(bytes.buffer, SETTINGS_AT, SETTINGS_BYTES), plan)
  for (const [index, template] of plan.templates.entries()) {
    const at = TEMPLATES_AT + index * TEMPLATE_STRUCT_BYTES
    writeTemplate(new DataView(bytes.buffer, at, TEMPLATE_STRUCT_BYTES), plan, template)
  }
  bytes.set(plan.schedule, SCHEDULE_AT)
  return bytes
}

/** The struct's fields in their order; two of 64 bits at the end. */
function writeSettings(view: DataView, plan: TrafficPlan): void {
  const { spec } = plan
  const range = ({ first, count }: ValueRange) => [first, count]
  const words = [
    NO_DEVICE,
    TRAFFIC_MODES.indexOf(spec.mode),
    plan.l3Offset,
    Number(spec.hasTimestamps),
    Number(spec.hasUdpChecksum),
    spec.flows,
    ...range(spec.sourcePorts),
    ...range(spec.destinationPorts),
    ...range(spec.sources),
    ...range(spec.destinations),
    plan.steps,
    plan.payloadBytes,
    plan.templates.length,
    plan.schedule.length,
    plan.frameBytesMax,
    batchOf(plan),
    Number(plan.templates.some(({ interval }) => interval > 0)),
    0,
  ]
  for (const [index, word] of words.entries()) view.setUint32(4 * index, word, true)
  view.setBigUint64(4 * words.length, BigInt(spec.frames), true)
  view.setBigUint64(4 * words.length + 8, BigInt(Math.round(spec.seconds * NANOSECONDS)), true)
}

function batchOf(plan: TrafficPlan): number {
  const interval = Math.min(...plan.templates.map((template) => template.interval))
  if (interval === 0) return BATCH_MAX
  return Math.min(BATCH_MAX, Math.max(BATCH_MIN, Math.floor(BATCH_NANOSECONDS / interval)))
}

function writeTemplate(view: DataView, plan: TrafficPlan, template: FrameTemplate): void {
  view.setBigUint64(0, BigInt(Math.round(template.interval * FIXED_POINT)), true)
  view.setUint32(8, template.frameBytes, true)
  view.setUint32(12, template.ipv4Sum, true)
  view.setUint32(16, template.l4Sum, true)
  const header = new Uint8Array(view.buffer, view.byteOffset + HEADER_AT, TEMPLATE_BYTES)
  header.set(template.header)
  const { sources, destinations } = plan.spec
  const sum = template.ipv4Sum + checksums.word(sources.first) + checksums.word(destinations.first)
  const ipv4 = HEADER_AT + plan.l3Offset
  view.setUint32(ipv4 + IPV4_SOURCE, sources.first)
  view.setUint32(ipv4 + IPV4_DESTINATION, destinations.first)
  view.setUint16(ipv4 + IPV4_CHECKSUM, checksums.complement(sum))
}
