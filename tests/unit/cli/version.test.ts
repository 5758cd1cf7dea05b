import { readFile } from 'node:fs/promises';
import { VERSION } from '../../../src/core/version.js';
import { runCommand } from '../../support/command-line.js';

test('the release is that of package.json', async () => {
  const text = await readFile(new URL('../../../package.json', import.meta.url), 'utf8');
  expect(JSON.parse(text)).toMatchObject({ version: VERSION });
});

test('for people and for programs', async () => {
  const node = process.versions.node;
  expect((await runCommand(['version'])).out).toBe(`splenium ${VERSION} (Node.js ${node})`);
  expect(JSON.parse((await runCommand(['version', '--json'])).out)).toEqual({ splenium: VERSION, node });
});
