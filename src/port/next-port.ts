/** For what looks at one attached port after the other. */
export const NO_MORE_PORTS = -1

/** @param names by port; `''` or nothing where none is attached */
export function nextPort(names: readonly (string | undefined)[], from: number): number {
  for (let port = from; port < names.length; port++) {
    if (names[port] !== undefined && names[port] !== '') return port
  }
  return NO_MORE_PORTS
}
