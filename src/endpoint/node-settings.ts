/**
 * What all stages know of their node; written by the control plane, effective with the next packet.
 */
import type { ArrayMap } from '../maps/array-map.js'
import type { MapSpec } from '../maps/map.js'
import { SettingsRow } from '../maps/settings-row.js'
import type { Mac } from '../wire/address.js'

/** Port of the host pair plus one; 0 for none. */
const HOST_PORT = 0
/** Port of the first uplink plus one; 0 for none. */
const UPLINK_PORT = 1
/** The node's own IPv4 address towards other nodes and the outside; 0 for none. */
const NODE_ADDRESS = 2
/** 1: fragments are dropped. */
const FRAGMENTS_OFF = 8
/** UDP port of the overlay; 0 while pods of other nodes are reached by plain routing. */
const TUNNEL_PORT = 4
/** Destination MAC of frames inside the overlay; the lower word has a flag when there is one. */
const TUNNEL_MAC_HIGH = 5
const TUNNEL_MAC_LOW = 6
const HAS_TUNNEL_MAC = 0x1_0000
/** 1: audit mode for every policy. */
const POLICY_AUDIT = 12
/** HostFirewallMode: whether the host endpoint's policy is asked. */
const HOST_FIREWALL = 13
/** DenyResponse. */
const DENY_RESPONSE = 9
/** Each plus one; 0 for the default. */
const ANSWERS_PER_SECOND = 10
const ANSWERS_BURST = 11
/** Second of the monotonic clock at which the control plane was last known to live; 0 for never. */
const AGENT_ALIVE = 14
const WORDS = 16

/** UPLINKS: what begins at an uplink is brought to us to be judged, which the kernel else gets. */
export const HostFirewallMode = { OFF: 0, ON: 1, UPLINKS: 2 } as const
export type HostFirewallMode = (typeof HostFirewallMode)[keyof typeof HostFirewallMode]

/** What a local sender gets whose packet a policy denied (Cilium: policy-deny-response). */
export const DenyResponse = { NONE: 0, ICMP: 1, RESET: 2 } as const
export type DenyResponse = (typeof DenyResponse)[keyof typeof DenyResponse]

/** Cilium's numbers for its own answers (bpf/lib/icmp6.h). */
const ANSWERS_PER_SECOND_DEFAULT = 100
const ANSWERS_BURST_DEFAULT = 1000

/** A control plane that has not been heard of for so long is gone (Cilium: its lease's duration). */
const AGENT_LIVENESS_SECONDS = 15

export const NODE_SETTINGS_SPEC: MapSpec = {
  name: 'node_settings',
  type: 'array',
  keyWords: 0,
  valueWords: WORDS,
  maxEntries: 1,
}

export class NodeSettings {
  readonly #row: SettingsRow

  constructor(map: ArrayMap) {
    this.#row = new SettingsRow(map)
  }

  /** The map's memory, for `Revisions`. */
  get words(): Int32Array {
    return this.#row.words
  }

  /** Port of the pair that leads to the node's own network stack, or -1. */
  get hostPort(): number {
    return this.#row.get(HOST_PORT) - 1
  }

  set hostPort(port: number) {
    this.#row.set(HOST_PORT, port + 1)
  }

  /** Port of the uplink whose address is the node's, or -1. */
  get uplinkPort(): number {
    return this.#row.get(UPLINK_PORT) - 1
  }

  set uplinkPort(port: number) {
    this.#row.set(UPLINK_PORT, port + 1)
  }

  /** The node's own IPv4 address towards other nodes and the outside; 0 for none. */
  get nodeAddress(): number {
    return this.#row.get(NODE_ADDRESS)
  }

  set nodeAddress(address4: number) {
    this.#row.set(NODE_ADDRESS, address4)
  }

  /** Fragments take the ports of their datagram's first one; else they are dropped (157). */
  get isFragmentTracking(): boolean {
    return this.#row.get(FRAGMENTS_OFF) === 0
  }

  set isFragmentTracking(isOn: boolean) {
    this.#row.set(FRAGMENTS_OFF, isOn ? 0 : 1)
  }

  /**
   * UDP port at which the node takes VXLAN, and to which it sends it; 0: there is no overlay, pods
   * of other nodes are reached by plain routing.
   */
  get tunnelPort(): number {
    return this.#row.get(TUNNEL_PORT)
  }

  set tunnelPort(port: number) {
    this.#row.set(TUNNEL_PORT, port)
  }

  /** Frames inside the overlay are addressed to `tunnelMacHigh` and `tunnelMacLow`. */
  get hasTunnelMac(): boolean {
    return this.#row.get(TUNNEL_MAC_LOW) !== 0
  }

  get tunnelMacHigh(): number {
    return this.#row.get(TUNNEL_MAC_HIGH)
  }

  get tunnelMacLow(): number {
    return this.#row.get(TUNNEL_MAC_LOW) & 0xffff
  }

  /** @param mac null: they keep the address that their sender gave them */
  setTunnelMac(mac: Mac | null): void {
    this.#row.set(TUNNEL_MAC_LOW, 0)
    if (mac === null) return
    this.#row.set(TUNNEL_MAC_HIGH, mac.high)
    this.#row.set(TUNNEL_MAC_LOW, mac.low | HAS_TUNNEL_MAC)
  }

  /** What any endpoint's policy would drop passes, and is told. */
  get isPolicyAudit(): boolean {
    return this.#row.get(POLICY_AUDIT) !== 0
  }

  set isPolicyAudit(isOn: boolean) {
    this.#row.set(POLICY_AUDIT, isOn ? 1 : 0)
  }

  /** The host endpoint's policy is held against what the node sends and gets. */
  get isHostFirewall(): boolean {
    return this.#row.get(HOST_FIREWALL) !== HostFirewallMode.OFF
  }

  /** And against what begins at an uplink. */
  get guardsUplinks(): boolean {
    return this.#row.get(HOST_FIREWALL) === HostFirewallMode.UPLINKS
  }

  set hostFirewall(mode: HostFirewallMode) {
    this.#row.set(HOST_FIREWALL, mode)
  }

  /** What a local sender gets whose packet a policy denied; RESET for TCP, ICMP for all else. */
  get denyResponse(): DenyResponse {
    return this.#row.get(DENY_RESPONSE) as DenyResponse
  }

  set denyResponse(response: DenyResponse) {
    this.#row.set(DENY_RESPONSE, response)
  }

  /** ICMP errors and resets that one port's senders get per second; 0: none. */
  get answersPerSecond(): number {
    const word = this.#row.get(ANSWERS_PER_SECOND)
    return word === 0 ? ANSWERS_PER_SECOND_DEFAULT : word - 1
  }

  set answersPerSecond(count: number) {
    this.#row.set(ANSWERS_PER_SECOND, count + 1)
  }

  /** The same at once, after a rest; 0: none. */
  get answersBurst(): number {
    const word = this.#row.get(ANSWERS_BURST)
    return word === 0 ? ANSWERS_BURST_DEFAULT : word - 1
  }

  set answersBurst(count: number) {
    this.#row.set(ANSWERS_BURST, count + 1)
  }

  /** Whether there was a sign of life of the control plane of late. */
  isAgentAlive(nowSeconds: number): boolean {
    const seen = this.#row.get(AGENT_ALIVE)
    return seen !== 0 && ((nowSeconds - seen) | 0) <= AGENT_LIVENESS_SECONDS
  }

  /** The control plane's sign of life. It changes no decision that somebody may remember. */
  signAgentAlive(nowSeconds: number): void {
    this.#row.setUnnoticed(AGENT_ALIVE, nowSeconds)
  }
}
