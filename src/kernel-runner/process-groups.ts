import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';

/**
 * Reads `add PGID` and `del PGID`; when its input ends because the runner is gone, however it went, it kills the
 * groups that are left and removes the runner's private directory. Without it a `kill -9` of the runner would leave user
 * code running unattended.
 */
const GUARD = `
groups=" "
while read -r verb group; do
  case $verb in
    add) groups="$groups$group " ;;
    del) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done
rm -rf -- "$1"
exit 0
`;

/** Every child of the runner leads a process group of its own; this knows the ones that live. */
export class ProcessGroups {
  readonly #groups = new Set<number>();
  readonly #guard: ChildProcess;

  constructor(privateDirectory: string) {
    this.#guard = spawn('/bin/sh', ['-c', GUARD, 'guard', privateDirectory], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    this.#guard.on('error', () => undefined);
    this.#guard.stdin?.on('error', () => undefined);
  }

  add(pid: number): void {
    for (const group of this.#groups) if (!groupExists(group)) this.#forget(group);
    this.#groups.add(pid);
    this.#guard.stdin?.write(`add ${String(pid)}\n`);
  }

  /** The leader is gone and so must be the rest. */
  kill(pid: number): void {
    signalGroup(pid, 'SIGKILL');
    this.#forget(pid);
  }

  /** The leader is gone; a daemon it left behind goes on until the kernel ends. */
  leave(pid: number): void {
    if (!groupExists(pid)) this.#forget(pid);
  }

  /** Ends all groups: SIGTERM, and SIGKILL for what is left after the grace time. */
  async endAll(graceMs: number): Promise<void> {
    // An interactive shell ignores SIGTERM, but not that its terminal is gone.
    for (const signal of ['SIGTERM', 'SIGHUP'] as const)
      for (const group of this.#groups) signalGroup(group, signal);
    const deadline = performance.now() + graceMs;
    while (performance.now() < deadline && [...this.#groups].some(groupExists))
      await new Promise((resolve) => setTimeout(resolve, 20));
    for (const group of this.#groups) signalGroup(group, 'SIGKILL');
    this.#guard.stdin?.end();
  }

  #forget(pid: number): void {
    if (this.#groups.delete(pid)) this.#guard.stdin?.write(`del ${String(pid)}\n`);
  }
}

/** A group that is gone is no error. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody left to be told.
  }
}

function groupExists(pid: number): boolean {
  try {
    process.kill(-pid, 0);
    return true;
  } catch {
    return false;
  }
}
