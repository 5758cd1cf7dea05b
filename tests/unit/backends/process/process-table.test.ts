import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseStat, ProcessTable } from '../../../../src/backends/process/process-table.js';

const line = (pid: number, name: string, state: string, startTicks: number) =>
  `${String(pid)} (${name}) ${state} 1 20 30 0 -1 4194304 103 0 0 0 0 0 0 0 20 0 1 0 ${String(startTicks)} 3133440 414 18446744073709551615`;

describe('process table', () => {
  test('a name with spaces, parentheses and a fake state does not confuse the fields', () => {
    expect(parseStat(line(7, 'a) Z 9 9 9 (b', 'S', 4711))).toEqual({
      pid: 7,
      state: 'S',
      parentPid: 1,
      group: 20,
      session: 30,
      startTicks: 4711,
    });
  });

  test.each(['', 'nonsense', '12 (cut', '12 (cut) S 1 2'])('%j is no process', (text) => {
    expect(parseStat(text)).toBeNull();
  });

  test('a pid with another start time, a zombie and an absent process are not alive', async () => {
    const proc = await mkdtemp(join(tmpdir(), 'spl-proc-'));
    try {
      for (const [pid, state] of [
        [10, 'S'],
        [11, 'Z'],
      ] as const) {
        await mkdir(join(proc, String(pid)));
        await writeFile(join(proc, String(pid), 'stat'), line(pid, 'node', state, 500));
      }
      await mkdir(join(proc, 'sys'));
      const table = new ProcessTable(proc);
      expect(table.isAlive({ pid: 10, startTicks: 500 })).toBe(true);
      expect(table.isAlive({ pid: 10, startTicks: 501 })).toBe(false);
      expect(table.isAlive({ pid: 11, startTicks: 500 })).toBe(false);
      expect(table.isAlive({ pid: 12, startTicks: 500 })).toBe(false);
      expect((await table.list()).map(({ pid }) => pid)).toEqual([10]);
    } finally {
      await rm(proc, { recursive: true });
    }
  });
});
