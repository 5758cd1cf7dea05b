import { DockerUnavailableError } from './errors.js';

/** As the engine tells it; `unknown` where it does not. */
export interface EngineVersion {
  readonly engine: string;
  /** Of the newest form of calls that it understands, such as `1.43`. */
  readonly api: string;
}

/**
 * The oldest that does all that kernels are asked of: devices by request are the last that came. Podman says the same
 * numbers for the same things.
 */
const OLDEST = { engine: '19.03', api: '1.40' } as const;

/** One that does not say its version is taken as it is. @throws DockerUnavailableError naming what was found and is needed. */
export function checkVersion({ engine, api }: EngineVersion): void {
  const [found, needed] = [partsOf(api), partsOf(OLDEST.api)];
  if (found === null || needed === null) return;
  const isOld = found.major < needed.major || (found.major === needed.major && found.minor < needed.minor);
  if (isOld)
    throw new DockerUnavailableError(
      `the container engine is too old: version ${engine} with API ${api} was found, ${OLDEST.engine} with API ${OLDEST.api} or newer is needed: upgrade the engine`,
    );
}

function partsOf(api: string): { readonly major: number; readonly minor: number } | null {
  const [, major, minor] = /^(\d+)\.(\d+)$/.exec(api.trim()) ?? [];
  return major === undefined || minor === undefined ? null : { major: Number(major), minor: Number(minor) };
}
