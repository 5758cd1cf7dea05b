import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { readPublicKeyFile, readSecretKeyFile, writeKeyFiles } from '../callosum/transport/certificates.js';
import { generateKeyPair } from '../callosum/transport/keys.js';
import { CommandFailure, EXIT, type CliContext } from './context.js';

/** `splenium keys …`: CURVE key files in the layout of zmq.auth. No command ever prints a secret. */
export function keysCommand(context: CliContext): Command {
  const keys = new Command('keys').description('make and look at CURVE key files');

  keys
    .command('generate')
    .argument('<directory>', 'where the files go; made when absent')
    .argument('<name>', 'base name: NAME.key and NAME.key_secret')
    .option('--force', 'replace existing files', false)
    .description('make a key pair: a public file to give away and a secret one (mode 0600) to keep')
    .action(async (directory: string, name: string, options: { readonly force: boolean }) => {
      if (!/^[\w-][\w.-]*$/.test(name))
        throw new CommandFailure(
          `no base name: '${name}'; letters, digits, dots, hyphens and underscores`,
          EXIT.usage,
        );
      const target = resolve(context.cwd, directory);
      await mkdir(target, { recursive: true, mode: 0o700 });
      const pair = generateKeyPair();
      const files = await writeKeyFiles(target, name, pair, { overwrite: options.force });
      context.out(files.publicFile);
      context.out(files.secretFile);
      context.err(`public key ${pair.publicKey}`);
    });

  keys
    .command('show')
    .argument('<file>', 'a .key or .key_secret file')
    .description('print the public key of a file, having checked the file')
    .action(async (file: string) => {
      context.out(await readPublicKeyFile(resolve(context.cwd, file)));
    });

  keys
    .command('check')
    .argument('<file>', 'a .key_secret file')
    .description('check that a secret key file is private to its owner and that its two keys belong together')
    .action(async (file: string) => {
      const pair = await readSecretKeyFile(resolve(context.cwd, file));
      context.out(`ok ${pair.publicKey}`);
    });
  return keys;
}
