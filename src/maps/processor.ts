/** What the maps need to know of the processor's memory. */

/** Whether plain loads, and plain stores, stay in the program's order for other processors. */
export const KEEPS_ORDER = process.arch === 'x64' || process.arch === 'ia32'
