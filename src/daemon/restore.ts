/**
 * A new agent takes over the maps that it finds. The record says what was applied; the maps say
 * what is there. Where they disagree, because an agent died between the two, the maps are right.
 */
import { PORTS_MAX } from '../base/limits.js'
import { Endpoint, PortKind } from '../endpoint/endpoint-table.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { formatAddress, formatMac } from '../wire/address.js'
import type { Applied } from './applied.js'
import type { ControllerTarget } from './controller-target.js'
import type { NodeController } from './node-controller.js'
import type { NodeObject } from './reconcile.js'

/** @returns what could not be taken over; it is out of the record, and so will be created */
export function restore(
  applied: Applied,
  maps: DatapathMaps,
  controller: NodeController,
  target: ControllerTarget,
): { object: NodeObject; message: string }[] {
  const rows = readRows(maps)
  const isThere = ({ spec }: NodeObject): boolean => {
    // The record has a MAC address as somebody wrote it.
    const said: Record<string, unknown> = { ...spec, mac: String(spec.mac).toLowerCase() }
    return rows.some((row) => Object.entries(row).every(([k, v]) => said[k] === v))
  }
  for (const object of applied.objects) {
    if (object.kind === 'Endpoint' && !isThere(object)) applied.forget(object)
  }
  const known = new Set(applied.objects.map(({ spec }) => spec.id))
  for (const { id } of rows) if (!known.has(id)) controller.removeEndpoint(id)
  restoreDevices(applied, controller)
  const failed = target.adopt(applied.objects)
  for (const { object } of failed) applied.forget(object)
  return failed
}

/** Uplinks that only one of the two knows, and a host pair that only the record has. */
function restoreDevices(applied: Applied, controller: NodeController): void {
  const there = controller.devices.uplinkDevices()
  for (const object of applied.objects) {
    const isGone =
      (object.kind === 'Uplink' && !there.includes(object.name)) ||
      (object.kind === 'Host' && !controller.devices.hasHost)
    if (isGone) applied.forget(object)
  }
  for (const device of there) {
    if (applied.get(`Uplink ${device}`) === undefined) controller.devices.removeUplink(device)
  }
}

interface EndpointFacts {
  readonly id: number
  readonly device: string
  readonly address: string
  readonly mac: string
}

/** Endpoints as the maps have them. */
function readRows({ endpoints, ports }: DatapathMaps): EndpointFacts[] {
  const rows: EndpointFacts[] = []
  for (let port = 0; port < PORTS_MAX; port++) {
    if (endpoints.kind(port) !== PortKind.POD) continue
    const row = endpoints.rowStart(port)
    const word = (index: number): number => endpoints.words[row + index] ?? 0
    rows.push({
      id: word(Endpoint.ID),
      device: ports.device(port),
      address: formatAddress(endpoints.words, row + Endpoint.ADDRESS),
      mac: formatMac(word(Endpoint.MAC), word(Endpoint.MAC + 1)),
    })
  }
  return rows
}
