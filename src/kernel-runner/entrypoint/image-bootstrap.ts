import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Complain } from '../complaint.js';
import { messageOf } from '../complaint.js';

const SCRIPT = '/opt/container/bootstrap.sh';
/** Where the shell's environment is written to. */
const ENVIRONMENT_FD = 3;
/** Of the shell itself, and no wish of the script's. */
const OF_SHELL = ['_', 'PWD', 'OLDPWD', 'SHLVL'];

/**
 * Sources the image's own start-up script as root, and takes over what it exports (spec/kernel-runner.md 5.3). It may
 * take its time. A script that fails is told of and no reason to stop. Our own Node.js at `node` reads the
 * environment, so that the image needs no other program than a shell.
 */
export async function sourceImageBootstrap(node: string, complain: Complain): Promise<void> {
  if (!existsSync(SCRIPT)) return;
  try {
    accessSync(SCRIPT, constants.X_OK);
  } catch {
    complain("the image's bootstrap.sh is not executable and was not run", { path: SCRIPT });
    return;
  }
  const tell = `require('node:fs').writeSync(${String(ENVIRONMENT_FD)}, JSON.stringify(process.env))`;
  const shell = spawn(
    '/bin/sh',
    ['-c', `. ${SCRIPT}\n"$@" 3>&${String(ENVIRONMENT_FD)}`, 'sh', node, '-e', tell],
    { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] },
  );
  let text = '';
  (shell.stdio[ENVIRONMENT_FD] as Readable).setEncoding('utf8').on('data', (part: string) => (text += part));
  const failure = await new Promise<Error | null>((resolve) => {
    shell.once('error', resolve);
    // Not `close`: what the script leaves in the background may hold the descriptor.
    shell.once('exit', () => {
      setImmediate(() => {
        resolve(null);
      });
    });
  });
  if (failure) {
    complain("the image's bootstrap.sh cannot be run", { path: SCRIPT, error: failure.message });
    return;
  }
  if (text === '') complain("the image's bootstrap.sh has ended the shell", { exitCode: shell.exitCode });
  else takeOver(text, complain);
}

function takeOver(text: string, complain: Complain): void {
  try {
    const exported = JSON.parse(text) as Record<string, string>;
    for (const name of Object.keys(process.env))
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- the way to unset a variable
      if (!(name in exported)) delete process.env[name];
    for (const [name, value] of Object.entries(exported))
      if (!OF_SHELL.includes(name)) process.env[name] = value;
  } catch (error) {
    complain("what the image's bootstrap.sh exports is unreadable", { error: messageOf(error) });
  }
}
