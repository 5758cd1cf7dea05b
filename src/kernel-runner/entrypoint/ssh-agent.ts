import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Complain } from '../complaint.js';

const LIMIT_MS = 5_000;

/** Starts the image's ssh-agent, where it has one, with the user's key in it. */
export async function startSshAgent(home: string, complain: Complain): Promise<void> {
  if (!isOnPath('ssh-agent')) return;
  const { output, failure } = await outputOf('ssh-agent', ['-s']);
  for (const name of ['SSH_AUTH_SOCK', 'SSH_AGENT_PID']) {
    const value = new RegExp(`${name}=([^;\\n]+)`).exec(output)?.[1];
    if (value === undefined) {
      complain('ssh-agent does not start', { error: failure ?? 'it says nothing of use' });
      return;
    }
    process.env[name] = value;
  }
  const key = join(home, '.ssh/id_rsa');
  if (!existsSync(key)) return;
  const added = await outputOf('ssh-add', [key]);
  if (added.failure !== null) complain('ssh-add does not take the key', { key, error: added.failure });
}

function isOnPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function outputOf(
  command: string,
  args: readonly string[],
): Promise<{ readonly output: string; readonly failure: string | null }> {
  return new Promise((resolve) => {
    // Nobody is there to be asked for a pass phrase.
    const env = { ...process.env, SSH_ASKPASS_REQUIRE: 'never' };
    const child = execFile(command, [...args], { timeout: LIMIT_MS, env }, (error, output) => {
      resolve({ output, failure: error === null ? null : error.message });
    });
    child.stdin?.end();
  });
}
