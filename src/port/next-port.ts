/** For what looks at one port after the other. */
export const NO_MORE_PORTS = -1

/** The first of ports `from` to `end`, not included, that is wanted. */
export function nextPort(from: number, end: number, isWanted: (port: number) => boolean): number {
  for (let port = from; port < end; port++) {
    if (isWanted(port)) return port
  }
  return NO_MORE_PORTS
}

/** @param names by port; `''` or nothing where none is attached */
export const isAttached = (names: readonly (string | undefined)[], port: number): boolean =>
  (names[port] ?? '') !== ''
