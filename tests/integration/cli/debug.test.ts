import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../support/command-line.js';
import { TestDaemon } from '../../support/daemon.js';

const SHELL = { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' };
const SMALL = { cpu: '1', mem: '67108864' };

test('debug snapshot shows the kernels and allocations of all agents to the user of the daemon', async () => {
  const daemon = await TestDaemon.start();
  try {
    const client = daemon.client('i-one');
    const { kernelId } = await client.createKernel({
      image: 'local/shell:1',
      labels: SHELL,
      resourceSlots: SMALL,
      environ: { HF_TOKEN: 'hidden' },
    });
    await client.close();
    const { exitCode, out } = await runCommand(['debug', 'snapshot', '--config', daemon.configPath], {
      cwd: daemon.directory,
    });
    expect(exitCode).toBe(0);
    expect(out).not.toContain('hidden');
    expect(JSON.parse(out)).toMatchObject({
      'i-one': {
        registry: { [kernelId]: { state: 'running', resource_spec: { slots: SMALL } } },
        allocs: { mem: { mem: { root: '67108864' } } },
      },
      'i-two': { registry: {} },
    });
    const path = join(daemon.stateDirectory, 'sockets', 'agent-registry-snapshot.sock');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const { out: same } = await runCommand(['debug', 'snapshot', '--socket', path]);
    expect(same).toBe(out);
  } finally {
    await daemon.dispose();
  }
}, 120_000);

test('debug snapshot without a daemon says so', async () => {
  const { exitCode, err } = await runCommand(['debug', 'snapshot', '--socket', '/nowhere/snapshot.sock']);
  expect(exitCode).toBe(1);
  expect(err).toMatch(/^\/nowhere\/snapshot\.sock: .*ENOENT.*daemon's own user/);
});
