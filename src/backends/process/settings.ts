import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { Questions } from '../../core/questions.js';

export interface ProcessBackendOptions {
  /** Holds one directory a kernel, with its note, its console log and its exit status. Agents may share it. */
  readonly stateDir: string;
  /** The bundled kernel runner, for example `dist/kernel-runner/main.mjs`. */
  readonly runnerPath: string;
  /** Default: the Node.js that runs this program. */
  readonly nodePath?: string;
  /** Short directory for the kernels' sockets. Default: the first that fits of `<stateDir>/run`, `runtimeDir`, the temporary directory. */
  readonly socketDir?: string;
  /** What the system offers for sockets, usually `XDG_RUNTIME_DIR` or `/run`. */
  readonly runtimeDir?: string;
  /** Where kernels' memory cgroups go: found by itself with `auto`, a directory, or nowhere. Default `auto`. */
  readonly cgroup?: 'auto' | 'off' | { readonly directory: string };
  /** Added to the priority number of kernels, 0 to 19. Default 0. */
  readonly niceness?: number;
  /** How much console output of a kernel is kept; up to three times that lies on the disk. Default 1 MiB. */
  readonly logMaxBytes?: number;
  /** How often kernels that are no children of this process are looked at. Default 500 ms. */
  readonly pollIntervalMs?: number;
  /** How many entries one file listing shows at most. Default 10,000. */
  readonly listMaxEntries?: number;
  /** Through which files are read that may hang while kernels are measured. Default: one of its own. */
  readonly questions?: Questions;
  readonly logger: Logger;
  readonly clock?: Clock;
}
