import { appendFile, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { consoleFile, readConsole, rotateConsole } from '../../../../src/backends/process/console-log.js';

describe('console log', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'spl-log-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const text = async (maxBytes: number) => Buffer.from(await readConsole(directory, maxBytes)).toString();

  test('a kernel that has written nothing has an empty log', async () => {
    await rotateConsole(directory, 10);
    expect(await text(100)).toBe('');
  });

  test('the tail is read across the rotation, and the files stay bounded', async () => {
    await appendFile(consoleFile(directory), '0123456789abcdef');
    await rotateConsole(directory, 16);
    expect(await text(100)).toBe('0123456789abcdef');
    await appendFile(consoleFile(directory), 'X');
    await rotateConsole(directory, 16);
    expect(await text(100)).toBe('123456789abcdefX');
    expect((await stat(consoleFile(directory))).size).toBe(0);
    await appendFile(consoleFile(directory), 'YZ');
    expect(await text(100)).toBe('123456789abcdefXYZ');
    expect(await text(4)).toBe('fXYZ');
    expect(await text(2)).toBe('YZ');
    expect(await text(0)).toBe('');
  });
});
