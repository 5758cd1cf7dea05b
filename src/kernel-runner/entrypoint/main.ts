import { fchownSync, fstatSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { Complain } from '../complaint.js';
import { messageOf } from '../complaint.js';
import { linkAgentSocket } from './agent-socket.js';
import { extractDotfiles } from './dotfiles.js';
import { type KernelIdentity, identityOf } from './identity.js';
import { sourceImageBootstrap } from './image-bootstrap.js';
import { Preparation } from './preparation.js';
import { startSshAgent } from './ssh-agent.js';

/**
 * The first program of a kernel's container (spec/kernel-runner.md 5.3): `entrypoint [--sudo] PROGRAM ARGUMENT…`.
 * As root it prepares the image, becomes the kernel's user for good, and goes on as the program, a module for Node.js,
 * in the same process: nobody stays behind as root. Nothing of the image is needed for it. Not started as root, it
 * leaves the image and the user as they are, and says so.
 */

const HOME = '/home/work';
const CONFIG = '/home/config';
const SUDO = '--sudo';

const complain: Complain = (message, facts = {}) => {
  process.stderr.write(`${JSON.stringify({ entrypoint: message, ...facts })}\n`);
};

async function prepareAsRoot(identity: KernelIdentity, isSudoEnabled: boolean): Promise<void> {
  const preparation = new Preparation(identity, complain);
  preparation.perform();
  linkAgentSocket(complain);
  process.env['HOME'] = HOME;
  // Our own Node.js as this process knows it: a script of the runner volume, for which the image needs a shell.
  await sourceImageBootstrap(process.execPath, complain);
  if (isSudoEnabled) preparation.allowSudo();
}

/** The terminal, which the engine has opened for root: `/dev/stdout` of services is to be the user's. */
function giveTerminal({ uid }: KernelIdentity): void {
  for (const descriptor of [0, 1, 2])
    try {
      fchownSync(descriptor, uid, fstatSync(descriptor).gid);
    } catch {
      // Whoever runs the engine may not allow it.
    }
}

/** @throws Error when the process would not be whom it was to be. */
function become({ uid, gid, additionalGids }: KernelIdentity): void {
  if (uid === 0) {
    if (additionalGids.length > 0)
      try {
        process.setgroups?.([0, ...additionalGids]);
      } catch (error) {
        // Root without the right to it has the groups that the engine gave.
        complain('the groups stay as they are', { error: messageOf(error) });
      }
    return;
  }
  process.setgroups?.([gid, ...additionalGids]);
  process.setgid?.(gid);
  process.setuid?.(uid);
  const ids = [process.getuid?.(), process.geteuid?.(), process.getgid?.(), process.getegid?.()];
  if (ids.join() !== [uid, uid, gid, gid].join())
    throw new Error(
      `the kernel would run with the ids ${ids.join(', ')} instead of ${String(uid)}:${String(gid)}`,
    );
}

async function enter(argv: readonly string[]): Promise<void> {
  const isSudoEnabled = argv[0] === SUDO;
  const [program, ...rest] = isSudoEnabled ? argv.slice(1) : argv;
  if (program === undefined) throw new Error('usage: entrypoint [--sudo] PROGRAM ARGUMENT...');
  if (process.getuid?.() === 0) {
    const identity = identityOf(process.env);
    await prepareAsRoot(identity, isSudoEnabled);
    giveTerminal(identity);
    become(identity);
  } else {
    if (isSudoEnabled) throw new Error('sudo cannot be allowed: the container was not started as root');
    complain('not started as root: the accounts of the image stay as they are', { uid: process.getuid?.() });
    process.env['HOME'] = HOME;
  }
  extractDotfiles(CONFIG, HOME, complain);
  await startSshAgent(HOME, complain);
  process.argv = [process.argv[0] ?? '', program, ...rest];
  await import(pathToFileURL(program).href);
}

try {
  await enter(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`entrypoint: ${messageOf(error)}\n`);
  process.exit(1);
}
