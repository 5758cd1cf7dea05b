import { context } from 'zeromq';

/** More than a process has file descriptors for. */
const MAX_SOCKETS = 65_535;

/**
 * Lets this process have as many sockets as its file descriptors allow. The library's own bound of 1023 would be met at
 * some 500 kernels, with two sockets each. To be called before the first socket of the process is made.
 */
export function liftSocketLimit(): void {
  context.maxSockets = Math.min(MAX_SOCKETS, context.maxSocketsLimit);
}
