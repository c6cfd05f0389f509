/** Bounds that several folders share. */

/**
 * Frames that one exchange hands over; 32 to 64 is where batching stops paying, and 128 gain nothing more
 * (docs/performance.md).
 */
export const BURST_RECEIVE_MAX = 64
/** Room in a burst for frames that the stages make themselves. */
export const BURST_CAPACITY = 128
/** Workers of one datapath. */
export const WORKERS_MAX = 16
/**
 * The flow lane repeats a flow's packets for so long at most before the chain sees one: what grows
 * old unless it is used, and is used by the chain alone, has to last longer.
 */
export const REPEATED_SECONDS_MAX = 72
/** Ports of one datapath. */
export const PORTS_MAX = 1024
