import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import type { Complain } from '../complaint.js';
import { messageOf } from '../complaint.js';
import { type AccountFiles, USER_NAME, withKernelUser } from './account-files.js';
import type { KernelIdentity } from './identity.js';

const ACCOUNT_PATHS = { passwd: '/etc/passwd', group: '/etc/group', shadow: '/etc/shadow' } as const;
const PRELOAD_FILE = '/etc/ld.so.preload';
const SUDOERS_DIRECTORY = '/etc/sudoers.d';
const SUDO_RULE = `${USER_NAME} ALL=(ALL:ALL) NOPASSWD:ALL\n`;
const SCP = { program: '/usr/bin/scp', helper: '/opt/kernel/dropbearmulti' };
const SHELLS = ['/bin/bash', '/bin/ash'];

/**
 * What the kernel's root file system gets from root before the user comes (spec/kernel-runner.md 5.3). Each part is
 * done as far as the image allows: one that is read-only keeps what it has, and the log says so. The user's own
 * files are not touched: there may be very many.
 */
export class Preparation {
  readonly #identity: KernelIdentity;
  readonly #complain: Complain;

  constructor(identity: KernelIdentity, complain: Complain) {
    this.#identity = identity;
    this.#complain = complain;
  }

  perform(): void {
    this.#attempt('there is no /tmp', makeTemporaryDirectory);
    this.#writeAccounts();
    this.#attempt('scp is not linked', linkScp);
    this.#attempt('LD_PRELOAD stays a variable', () => {
      this.#movePreload();
    });
  }

  /** @throws the system's error: a kernel that was promised sudo shall not start without. */
  allowSudo(): void {
    mkdirSync(SUDOERS_DIRECTORY, { recursive: true, mode: 0o755 });
    const path = `${SUDOERS_DIRECTORY}/01-bai-${USER_NAME}`;
    writeFileSync(path, SUDO_RULE, { mode: 0o440 });
    chmodSync(path, 0o440);
  }

  #writeAccounts(): void {
    const shell = SHELLS.find((path) => existsSync(path)) ?? '/bin/sh';
    const now = readAccounts();
    const wanted = withKernelUser(now, this.#identity, shell);
    for (const name of ['passwd', 'group', 'shadow'] as const) {
      const text = wanted[name];
      if (text === null || text === now[name]) continue;
      this.#attempt(`${ACCOUNT_PATHS[name]} stays as it is`, () => {
        mkdirSync('/etc', { recursive: true });
        // In place: the file may be a mount of its own, which cannot be replaced.
        writeFileSync(ACCOUNT_PATHS[name], text, { mode: name === 'shadow' ? 0o640 : 0o644 });
      });
    }
  }

  /** Where the C library reads such a file; the runner's own programs must not depend on what is preloaded. */
  #movePreload(): void {
    const entries = (process.env['LD_PRELOAD'] ?? '').split(':').filter((path) => path !== '');
    if (entries.length === 0 || usesMusl()) return;
    const missing = entries.filter((path) => path.startsWith('/') && !existsSync(path));
    if (missing.length > 0) this.#complain('libraries to preload are missing', { missing });
    const before = existsSync(PRELOAD_FILE) ? readFileSync(PRELOAD_FILE, 'utf8').split(/\s+/) : [];
    const present = entries.filter((path) => !missing.includes(path));
    const lines = [...new Set([...before.filter((path) => path !== ''), ...present])];
    if (lines.length > 0)
      writeFileSync(PRELOAD_FILE, lines.map((path) => `${path}\n`).join(''), { mode: 0o644 });
    delete process.env['LD_PRELOAD'];
  }

  #attempt(failure: string, act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#complain(failure, { error: messageOf(error) });
    }
  }
}

function readAccounts(): AccountFiles {
  const read = (path: string): string | null => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return null;
    }
  };
  return {
    passwd: read(ACCOUNT_PATHS.passwd),
    group: read(ACCOUNT_PATHS.group),
    shadow: read(ACCOUNT_PATHS.shadow),
  };
}

function makeTemporaryDirectory(): void {
  if (statSync('/tmp', { throwIfNoEntry: false })) return;
  mkdirSync('/tmp');
  chmodSync('/tmp', 0o1777);
}

function linkScp(): void {
  if (!existsSync(SCP.helper) || existsSync(SCP.program)) return;
  mkdirSync('/usr/bin', { recursive: true });
  symlinkSync(SCP.helper, SCP.program);
}

function usesMusl(): boolean {
  if (existsSync('/etc/alpine-release')) return true;
  try {
    return readdirSync('/lib').some((name) => name.startsWith('ld-musl-'));
  } catch {
    return false;
  }
}
