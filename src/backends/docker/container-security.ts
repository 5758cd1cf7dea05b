import type { HostConfig } from 'dockerode';
import { z } from 'zod';
import { messageOf } from '../../core/errors.js';
import type { KernelPlan } from '../backend.js';
import { DockerUnavailableError } from './errors.js';

/**
 * `original`: capabilities and privileges as the original gives them. `strict`: no capability but those that the
 * original adds, and no way to gain privileges; a session that may use sudo needs both and keeps the engine's.
 */
export type Hardening = 'original' | 'strict';

export interface SecuritySettings {
  readonly hardening: Hardening;
  /** Most processes and threads of one kernel; null: as many as the engine allows. */
  readonly pidsLimit: number | null;
  /** A seccomp profile as JSON text; null: the engine's own, to which nothing can be added. */
  readonly seccompProfile: string | null;
}

/** What the kernel's processes may do (spec/kernel-lifecycle.md 2.16). Pure. */
export function securityOf(
  plan: Pick<KernelPlan, 'isSudoEnabled' | 'allowedSyscalls'>,
  { hardening, pidsLimit, seccompProfile }: SecuritySettings,
): Partial<HostConfig> {
  const isClosed = isUserFixed(plan, hardening);
  return {
    Privileged: false,
    CapAdd: ['IPC_LOCK', 'SYS_NICE'],
    ...(isClosed ? { CapDrop: ['ALL'] } : {}),
    SecurityOpt: [
      ...(seccompProfile === null
        ? []
        : [`seccomp=${withSyscalls(seccompProfile, plan.allowedSyscalls ?? [])}`]),
      ...(isClosed ? ['no-new-privileges:true'] : []),
    ],
    ...(pidsLimit === null ? {} : { PidsLimit: pidsLimit }),
  };
}

/** Nobody in the kernel, the entry point included, may become another user. */
export const isUserFixed = (plan: Pick<KernelPlan, 'isSudoEnabled'>, hardening: Hardening): boolean =>
  hardening === 'strict' && !plan.isSudoEnabled;

const profileSchema = z.looseObject({ syscalls: z.array(z.unknown()).default([]) });

/** The profile with one rule more that lets the calls through; unchanged without any. @throws as `checkProfile`. */
export function withSyscalls(profile: string, names: readonly string[]): string {
  if (names.length === 0) return profile;
  const parsed = parseProfile(profile);
  const rule = { names: [...new Set(names)].sort(), action: 'SCMP_ACT_ALLOW', args: [] };
  return JSON.stringify({ ...parsed, syscalls: [...parsed.syscalls, rule] });
}

/** @throws DockerUnavailableError for a text that is no profile. */
export function checkProfile(profile: string, path: string): void {
  try {
    parseProfile(profile);
  } catch (error) {
    throw new DockerUnavailableError(`${path} is no seccomp profile: ${messageOf(error)}`, { cause: error });
  }
}

const parseProfile = (profile: string) => profileSchema.parse(JSON.parse(profile));
