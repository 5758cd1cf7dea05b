import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { hasCode } from '../../core/errors.js';
import type { ScratchFile } from './plan-scratch.js';

/** Names in the runner package -> paths below the kernel's home (spec/kernel-lifecycle.md 2.8). */
const PACKAGE_FILES = [
  ['jupyter-custom.css', '.jupyter/custom/custom.css'],
  ['logo.svg', '.jupyter/custom/logo.svg'],
  ['roboto.ttf', '.jupyter/custom/roboto.ttf'],
  ['roboto-italic.ttf', '.jupyter/custom/roboto-italic.ttf'],
  ['.bashrc', '.bashrc'],
  ['.bash_profile', '.bash_profile'],
  ['.zshrc', '.zshrc'],
  ['.vimrc', '.vimrc'],
  ['.tmux.conf', '.tmux.conf'],
  // A copy with both managers: a file that is mounted over a directory of the machine would be root's there.
  ['DO_NOT_STORE_PERSISTENT_FILES_HERE.md', 'DO_NOT_STORE_PERSISTENT_FILES_HERE.md'],
] as const;

/**
 * What every kernel finds in its home of the operator's runner package, whoever's runner it is; what the package lacks
 * is left out. Read once: they are small, and a package that is replaced meanwhile does not mix with itself.
 * @throws the system's error for a file that is there and cannot be read.
 */
export async function readHomeFiles(packageDirectory: string): Promise<readonly ScratchFile[]> {
  const files: ScratchFile[] = [];
  for (const [name, path] of PACKAGE_FILES)
    try {
      files.push({
        path: posix.join('work', path),
        data: await readFile(join(packageDirectory, name)),
        mode: 0o644,
        directoryMode: null,
        ofKernel: true,
      });
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  return files;
}
