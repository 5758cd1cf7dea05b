import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loaderNamedIn, parseLibraryList } from '../../../../src/backends/docker/dynamic-libraries.js';
import {
  buildRunnerVolume,
  openRunnerVolume,
  type RunnerVolume,
} from '../../../../src/backends/docker/index.js';
import { bundleEntrypoint } from '../../../support/entrypoint-bundle.js';
import { STUB_RUNNER } from '../../../support/stub-runner.js';

test('what the loader lists', () => {
  const text = [
    '\tlinux-vdso.so.1 (0x00007ffd1)',
    '\tlibstdc++.so.6 => /lib/x86_64-linux-gnu/libstdc++.so.6 (0x00007f1)',
    '\tlibc.musl-x86_64.so.1 => not found',
    '\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)',
  ].join('\n');
  expect(parseLibraryList(text)).toEqual(['/lib/x86_64-linux-gnu/libstdc++.so.6']);
  expect(() => parseLibraryList('\tlibcuda.so.1 => not found\n')).toThrow(
    'libcuda.so.1 is not on this machine',
  );
});

test('what is no program names no loader', () => {
  expect(loaderNamedIn(Buffer.from('#!/bin/sh\n'))).toBeNull();
  expect(loaderNamedIn(Buffer.alloc(64))).toBeNull();
  const cut = Buffer.alloc(64);
  cut.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  cut.writeBigUInt64LE(1n << 40n, 32);
  cut.writeUInt16LE(56, 54);
  cut.writeUInt16LE(3, 56);
  expect(loaderNamedIn(cut)).toBeNull();
});

describe('a runner volume', () => {
  let root: string;
  let volume: RunnerVolume;
  let programs: string;
  let entrypointPath: string;
  const build = () => buildRunnerVolume({ root, runnerPath: STUB_RUNNER, entrypointPath });

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'spl-volume-'));
    programs = await mkdtemp(join(tmpdir(), 'spl-programs-'));
    entrypointPath = await bundleEntrypoint(programs);
    volume = await build();
  }, 120_000);
  afterAll(async () => {
    for (const directory of [root, programs]) await rm(directory, { recursive: true, force: true });
  });

  test('runs node with its own loader and libraries, and zeromq in it', () => {
    const at = (name: string) => join(volume.directory, name);
    const script = "import('zeromq').then((zmq) => console.log(typeof zmq.Pull, process.version))";
    const output = execFileSync(
      at(volume.loader),
      ['--library-path', at('lib'), at('node'), '--input-type=module', '-e', script],
      { encoding: 'utf8', cwd: volume.directory, env: {} },
    );
    expect(output).toBe(`function ${process.version}\n`);
  });

  test('is readable by everybody, writable by nobody else', async () => {
    for (const entry of await readdir(volume.directory, { recursive: true, withFileTypes: true })) {
      const { mode } = await stat(join(entry.parentPath, entry.name));
      expect([0o644, 0o755]).toContain(mode & 0o777);
    }
  });

  test('is made once, also by several at a time, and leaves no draft', async () => {
    const before = await stat(volume.directory);
    expect(await Promise.all([build(), build()])).toEqual([volume, volume]);
    expect((await stat(volume.directory)).ino).toBe(before.ino);
    expect(await readdir(root)).toEqual([volume.directory.slice(root.length + 1)]);
  });

  test('has another name when it holds something else', async () => {
    const other = join(root, 'other-runner.mjs');
    await writeFile(other, 'console.log(1)');
    // zeromq is looked for from where the runner lies.
    await expect(buildRunnerVolume({ root, runnerPath: other, entrypointPath })).rejects.toMatchObject({
      code: 'RUNNER_VOLUME',
    });
    const elsewhere = await buildRunnerVolume({
      root,
      runnerPath: join(STUB_RUNNER, '../sys/../stub-runner.mjs'),
      entrypointPath,
    });
    expect(elsewhere).toEqual(volume);
    await rm(other);
  });

  test('that was changed is refused when it is opened and made anew when it is built', async () => {
    const runner = join(volume.directory, 'kernel-runner.mjs');
    const content = await readFile(runner);
    const damages: readonly (() => Promise<void>)[] = [
      () => rm(runner),
      () => writeFile(runner, 'shorter'),
      () => writeFile(runner, Buffer.alloc(content.length, 'x')),
      () => chmod(runner, 0o600),
      () => rm(join(volume.directory, 'volume.json')),
      () => writeFile(join(volume.directory, 'volume.json'), '{}'),
    ];
    for (const damage of damages) {
      await damage();
      await expect(openRunnerVolume(volume.directory)).rejects.toMatchObject({ code: 'RUNNER_VOLUME' });
      expect(await build()).toEqual(volume);
      expect(await readFile(runner)).toEqual(content);
    }
    await expect(openRunnerVolume(join(root, 'nothing'))).rejects.toThrow('has no readable manifest');
  }, 120_000);

  test('without node or with a program that is none says so', async () => {
    for (const nodePath of ['/nowhere/node', STUB_RUNNER])
      await expect(
        buildRunnerVolume({ root, runnerPath: STUB_RUNNER, entrypointPath, nodePath }),
      ).rejects.toMatchObject({ code: 'RUNNER_VOLUME' });
  });
});
