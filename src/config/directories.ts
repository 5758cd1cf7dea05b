import { mkdir } from 'node:fs/promises';
import type { DaemonConfig } from './types.js';

export interface ConfiguredDirectory {
  readonly key: string;
  readonly path: string;
  /** Permission bits for a new one. */
  readonly mode: number;
}

/** The directories that this configuration writes to. */
export function configuredDirectories(config: DaemonConfig): readonly ConfiguredDirectory[] {
  const docker = config.backend === 'docker';
  const candidates: readonly (readonly [string, string | null, number?])[] = [
    ['splenium.state-dir', config.stateDir, 0o700],
    ...config.agents.map(({ scratchRoot }) => ['container.scratch-root', scratchRoot] as const),
    ['agent.ipc-base-path', docker ? config.paths.ipcBase : null],
    ['agent.image-commit-path', docker ? config.paths.imageCommit : null],
    ['agent.abuse-report-path', config.abuseReportPath],
    ['debug.coredump.path', config.debug.coredump?.path ?? null],
    [
      'logging.file.path',
      config.logging.drivers.includes('file') ? (config.logging.file?.path ?? null) : null,
    ],
  ];
  const seen = new Set<string>();
  return candidates.flatMap(([key, path, mode = 0o755]) => {
    if (path === null || seen.has(path)) return [];
    seen.add(path);
    return [{ key, path, mode }];
  });
}

/** Makes the directories that are missing, with their parents. @throws the file system's own error. */
export async function createDirectories(config: DaemonConfig): Promise<void> {
  for (const { path, mode } of configuredDirectories(config)) await mkdir(path, { recursive: true, mode });
}
