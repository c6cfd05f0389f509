/**
 * Network devices of the current network namespace, and the offloads that AF_XDP cannot live with.
 */
import { binding, type DeviceInfo } from './binding.js'
import { explained } from './errors.js'

/** By the number that the native function takes; ethtool's tx, tso, gro and gso. */
const OFFLOADS = { txChecksum: 0, segmentation: 1, gro: 2, gso: 3 } as const
export type Offload = keyof typeof OFFLOADS

/** Index, MTU and queue counts. Throws EXDP_NO_DEVICE. */
export function deviceInfo(device: string): DeviceInfo {
  return explained('device', { device }, () => binding().deviceInfo(device))
}

/**
 * Gives a device with queues of each direction, such as a veth, so many of both, as `ethtool -L` does.
 * Throws EXDP_NO_DEVICE, EXDP_PERMISSION, or EXDP_SYSTEM when it has no room for them.
 */
export function setDeviceQueues(device: string, queues: number): void {
  explained('device', { device }, () => binding().setDeviceQueues(device, queues))
}

/**
 * As `ethtool -K`. A sender behind a veth must have `txChecksum` off, or its packets arrive with
 * partial checksums.
 */
export function setDeviceOffload(device: string, offload: Offload, on: boolean): void {
  explained('device', { device }, () => binding().setDeviceOffload(device, OFFLOADS[offload], on))
}

/**
 * Sends one whole Ethernet frame through the device's own queue, as any program of the node would:
 * for the rare one that no ring brought. Throws EXDP_NO_DEVICE, EXDP_PERMISSION, EXDP_SYSTEM.
 */
export function sendFrame(device: string, frame: Uint8Array): void {
  explained('device', { device }, () => binding().sendFrame(device, frame))
}
