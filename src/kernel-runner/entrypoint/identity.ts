/** Whom a kernel belongs to, as its environment says (spec/kernel-runner.md 5.3). */
export interface KernelIdentity {
  readonly uid: number;
  readonly gid: number;
  /** Without the gid. */
  readonly additionalGids: readonly number[];
}

/** Of kernels for which nobody has said it. */
const DEFAULT_ID = 9001;
const HIGHEST_ID = 0xffff_fffe;

/** @throws Error that names the variable. */
export function identityOf(environment: Readonly<Record<string, string | undefined>>): KernelIdentity {
  const id = (name: string): number => parseId(name, environment[name] || String(DEFAULT_ID));
  const gid = id('LOCAL_GROUP_ID');
  const additional = (environment['ADDITIONAL_GIDS'] ?? '')
    .split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map((text) => parseId('ADDITIONAL_GIDS', text));
  return {
    uid: id('LOCAL_USER_ID'),
    gid,
    additionalGids: [...new Set(additional)].filter((other) => other !== gid),
  };
}

function parseId(name: string, text: string): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  if (!(id <= HIGHEST_ID)) throw new Error(`${name}: '${text}' is no user or group id`);
  return id;
}
