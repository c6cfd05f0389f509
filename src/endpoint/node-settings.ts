/**
 * What all stages know of their node; written by the control plane, effective with the next packet.
 */
import type { ArrayMap } from '../maps/array-map.js'
import type { MapSpec } from '../maps/map.js'
import { markChanged } from '../maps/revision.js'
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

/** Cilium's numbers for its own answers (A20). */
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
  readonly #words: Int32Array
  readonly #start: number

  constructor(map: ArrayMap) {
    this.#words = map.words
    this.#start = map.valueStart(0)
  }

  /** The map's memory, for `Revisions`. */
  get words(): Int32Array {
    return this.#words
  }

  /** Port of the pair that leads to the node's own network stack, or -1. */
  get hostPort(): number {
    return (this.#words[this.#start + HOST_PORT] as number) - 1
  }

  set hostPort(port: number) {
    this.#set(HOST_PORT, port + 1)
  }

  /** Port of the uplink whose address is the node's, or -1. */
  get uplinkPort(): number {
    return (this.#words[this.#start + UPLINK_PORT] as number) - 1
  }

  set uplinkPort(port: number) {
    this.#set(UPLINK_PORT, port + 1)
  }

  /** The node's own IPv4 address towards other nodes and the outside; 0 for none. */
  get nodeAddress(): number {
    return this.#words[this.#start + NODE_ADDRESS] as number
  }

  set nodeAddress(address4: number) {
    this.#set(NODE_ADDRESS, address4)
  }

  /** Fragments take the ports of their datagram's first one; else they are dropped (157). */
  get isFragmentTracking(): boolean {
    return this.#words[this.#start + FRAGMENTS_OFF] === 0
  }

  set isFragmentTracking(isOn: boolean) {
    this.#set(FRAGMENTS_OFF, isOn ? 0 : 1)
  }

  /**
   * UDP port at which the node takes VXLAN, and to which it sends it; 0: there is no overlay, pods
   * of other nodes are reached by plain routing.
   */
  get tunnelPort(): number {
    return this.#words[this.#start + TUNNEL_PORT] as number
  }

  set tunnelPort(port: number) {
    this.#set(TUNNEL_PORT, port)
  }

  /** Frames inside the overlay are addressed to `tunnelMacHigh` and `tunnelMacLow`. */
  get hasTunnelMac(): boolean {
    return (this.#words[this.#start + TUNNEL_MAC_LOW] as number) !== 0
  }

  get tunnelMacHigh(): number {
    return this.#words[this.#start + TUNNEL_MAC_HIGH] as number
  }

  get tunnelMacLow(): number {
    return (this.#words[this.#start + TUNNEL_MAC_LOW] as number) & 0xffff
  }

  /** @param mac null: they keep the address that their sender gave them */
  setTunnelMac(mac: Mac | null): void {
    this.#set(TUNNEL_MAC_LOW, 0)
    if (mac === null) return
    this.#set(TUNNEL_MAC_HIGH, mac.high)
    this.#set(TUNNEL_MAC_LOW, mac.low | HAS_TUNNEL_MAC)
  }

  /** What any endpoint's policy would drop passes, and is told. */
  get isPolicyAudit(): boolean {
    return this.#words[this.#start + POLICY_AUDIT] !== 0
  }

  set isPolicyAudit(isOn: boolean) {
    this.#set(POLICY_AUDIT, isOn ? 1 : 0)
  }

  /** The host endpoint's policy is held against what the node sends and gets. */
  get isHostFirewall(): boolean {
    return this.#words[this.#start + HOST_FIREWALL] !== HostFirewallMode.OFF
  }

  /** And against what begins at an uplink. */
  get guardsUplinks(): boolean {
    return this.#words[this.#start + HOST_FIREWALL] === HostFirewallMode.UPLINKS
  }

  set hostFirewall(mode: HostFirewallMode) {
    this.#set(HOST_FIREWALL, mode)
  }

  /** What a local sender gets whose packet a policy denied; RESET for TCP, ICMP for all else. */
  get denyResponse(): DenyResponse {
    return this.#words[this.#start + DENY_RESPONSE] as DenyResponse
  }

  set denyResponse(response: DenyResponse) {
    this.#set(DENY_RESPONSE, response)
  }

  /** ICMP errors and resets that one port's senders get per second; 0: none. */
  get answersPerSecond(): number {
    const word = this.#words[this.#start + ANSWERS_PER_SECOND] as number
    return word === 0 ? ANSWERS_PER_SECOND_DEFAULT : word - 1
  }

  set answersPerSecond(count: number) {
    this.#set(ANSWERS_PER_SECOND, count + 1)
  }

  /** The same at once, after a rest; 0: none. */
  get answersBurst(): number {
    const word = this.#words[this.#start + ANSWERS_BURST] as number
    return word === 0 ? ANSWERS_BURST_DEFAULT : word - 1
  }

  set answersBurst(count: number) {
    this.#set(ANSWERS_BURST, count + 1)
  }

  /** Whether there was a sign of life of the control plane of late. */
  isAgentAlive(nowSeconds: number): boolean {
    const seen = this.#words[this.#start + AGENT_ALIVE] as number
    return seen !== 0 && ((nowSeconds - seen) | 0) <= AGENT_LIVENESS_SECONDS
  }

  /** The control plane's sign of life. It changes no decision that somebody may remember. */
  signAgentAlive(nowSeconds: number): void {
    Atomics.store(this.#words, this.#start + AGENT_ALIVE, nowSeconds)
  }

  /** Every setter ends here: who remembers a decision has to learn that it may be another now. */
  #set(word: number, value: number): void {
    this.#words[this.#start + word] = value
    markChanged(this.#words)
  }
}
