import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { ProcessBackendUnavailableError } from './errors.js';
import type { LaunchTools } from './launch.js';

/** @throws ProcessBackendUnavailableError when the runner or a shell is missing; the other tools may be. */
export async function findLaunchTools(options: {
  readonly nodePath: string;
  readonly runnerPath: string;
}): Promise<LaunchTools> {
  const { nodePath, runnerPath } = options;
  await access(runnerPath, constants.R_OK).catch((cause: unknown) => {
    throw new ProcessBackendUnavailableError(`no kernel runner at ${runnerPath}: build it first`, { cause });
  });
  const shell = await findProgram('sh');
  if (shell === null)
    throw new ProcessBackendUnavailableError('the process backend needs a shell: there is no sh');
  return {
    node: nodePath,
    runner: runnerPath,
    shell,
    taskset: await findProgram('taskset'),
    setpriv: await findProgram('setpriv'),
  };
}

async function findProgram(name: string): Promise<string | null> {
  const directories = (process.env['PATH'] ?? '').split(delimiter);
  for (const directory of [...directories, '/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'])
    if (directory !== '')
      try {
        await access(join(directory, name), constants.X_OK);
        return join(directory, name);
      } catch {
        // Not here.
      }
  return null;
}
