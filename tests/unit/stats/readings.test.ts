import { deferred } from '../../../src/core/async.js';
import { DiskUsage, type FilesystemSpace } from '../../../src/stats/disk-usage.js';
import { KernelUsageReader } from '../../../src/stats/kernel-usage.js';
import { Questions } from '../../../src/core/questions.js';
import { eventually } from '../../support/eventually.js';

const filesFrom = (files: Readonly<Record<string, string>>) => (path: string) => {
  const text = files[path];
  return text === undefined ? Promise.reject(new Error(`no ${path}`)) : Promise.resolve(text);
};

const processFiles = (pid: number, cpuTicks: number, rssKb: number, read: number, written: number) => ({
  [`/proc/${String(pid)}/stat`]: `${String(pid)} (x) S 1 1 1 0 0 0 0 0 0 0 ${String(cpuTicks)} 0 0 0 20 0 1 0 5`,
  [`/proc/${String(pid)}/status`]: `VmRSS:\t${String(rssKb)} kB\n`,
  [`/proc/${String(pid)}/io`]: `read_bytes: ${String(read)}\nwrite_bytes: ${String(written)}\n`,
});
const PROCESSES = { ...processFiles(10, 100, 1000, 5, 6), ...processFiles(11, 50, 500, 7, 8) };

describe('what a kernel uses', () => {
  const read = async (files: Readonly<Record<string, string>>, cgroups: readonly string[]) => {
    const reader = new KernelUsageReader({
      readText: filesFrom(files),
      questions: new Questions({ timeoutMs: 20_000 }),
    });
    const usages = await reader.read(new Map([['k', { pids: [10, 11, 12], cgroups }]]));
    return usages.get('k');
  };

  test('without a cgroup it is the sum over the processes that are still there', async () => {
    expect(await read(PROCESSES, [])).toEqual({
      cpuMs: 1500,
      memoryBytes: 1_536_000,
      memoryLimitBytes: null,
      ioReadBytes: 12,
      ioWriteBytes: 14,
      traffic: null,
      processes: new Map([
        [10, { cpuMs: 1000, memoryBytes: 1_024_000, ioReadBytes: 5, ioWriteBytes: 6 }],
        [11, { cpuMs: 500, memoryBytes: 512_000, ioReadBytes: 7, ioWriteBytes: 8 }],
      ]),
    });
  });

  test('traffic of its own is counted, but not what it says to itself', async () => {
    const files = {
      ...PROCESSES,
      '/proc/10/net/dev': [
        'Inter-|   Receive                            |  Transmit',
        ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop',
        '    lo: 5000 1 0 0 0 0 0 0 5000 1 0 0 0 0 0 0',
        '  eth0: 700 1 0 0 0 0 0 0 300 1 0 0 0 0 0 0',
        '  eth1: 7 1 0 0 0 0 0 0 3 1 0 0 0 0 0 0',
      ].join('\n'),
    };
    const reader = new KernelUsageReader({
      readText: filesFrom(files),
      questions: new Questions({ timeoutMs: 20_000 }),
    });
    const source = { pids: [10], cgroups: [], trafficFile: '/proc/10/net/dev' };
    const gone = { ...source, trafficFile: '/proc/11/net/dev' };
    const usages = await reader.read(new Map(Object.entries({ source, gone })));
    expect(usages.get('source')?.traffic).toEqual({ receivedBytes: 707, sentBytes: 303 });
    expect(usages.get('gone')?.traffic).toBeNull();
  });

  test('cgroup version 2', async () => {
    const files = {
      ...PROCESSES,
      '/cg/k/cpu.stat': 'usage_usec 2500000\nuser_usec 1\n',
      '/cg/k/memory.current': '5000\n',
      '/cg/k/memory.stat': 'anon 1\ninactive_file 1000\n',
      '/cg/k/memory.max': '8000\n',
      '/cg/k/io.stat': '8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n',
    };
    expect(await read(files, ['/cg/k'])).toMatchObject({
      cpuMs: 2500,
      memoryBytes: 4000,
      memoryLimitBytes: 8000,
      ioReadBytes: 11,
      ioWriteBytes: 22,
    });
    expect(await read({ ...files, '/cg/k/memory.max': 'max\n' }, ['/cg/k'])).toMatchObject({
      memoryLimitBytes: null,
    });
  });

  test('cgroup version 1, with the controllers in different places and one that is missing', async () => {
    const files = {
      ...PROCESSES,
      '/cpu/k/cpuacct.usage': '3000000000\n',
      '/memory/k/memory.usage_in_bytes': '5000\n',
      '/memory/k/memory.stat': 'inactive_file 1\ntotal_inactive_file 2000\n',
      '/memory/k/memory.limit_in_bytes': '9223372036854771712\n',
    };
    expect(await read(files, ['/memory/k', '/cpu/k'])).toMatchObject({
      cpuMs: 3000,
      memoryBytes: 3000,
      memoryLimitBytes: null,
      ioReadBytes: 12,
      ioWriteBytes: 14,
    });
  });

  test('throttled block I/O of version 1', async () => {
    const files = {
      ...PROCESSES,
      '/b/blkio.throttle.io_service_bytes': '8:0 Read 7\n8:0 Write 9\nTotal 16\n',
    };
    expect(await read(files, ['/b'])).toMatchObject({ ioReadBytes: 7, ioWriteBytes: 9 });
  });

  test('a kernel of which nothing is left has no reading', async () => {
    expect(await read({}, ['/cg/k'])).toBeUndefined();
  });

  test('those that hang do not keep the others from theirs, and are not asked again until they answer', async () => {
    const hanging = deferred<string>();
    const files = filesFrom(PROCESSES);
    const asked: string[] = [];
    const questions = new Questions({ timeoutMs: 50 });
    const reader = new KernelUsageReader({
      readText: (path) => {
        if (!path.startsWith('/stuck')) return files(path);
        asked.push(path);
        return hanging.promise;
      },
      questions,
    });
    const source = (cgroup: string) => ({ pids: [10], cgroups: [cgroup] });
    const sources = new Map(
      [...Array(6).keys()].map((index) => [
        `k${String(index)}`,
        source(index < 2 ? `/stuck${String(index)}` : '/none'),
      ]),
    );
    for (let round = 0; round < 3; round += 1)
      expect([...(await reader.read(sources)).keys()].sort()).toEqual(['k2', 'k3', 'k4', 'k5']);
    expect(asked).toHaveLength(2);
    expect(questions.hanging).toBe(2);
    hanging.reject(new Error('gone'));
    await eventually(() => {
      expect(questions.hanging).toBe(0);
    });
    expect((await reader.read(sources)).size).toBe(6);
  });

  test('who asks for a kernel that is just being read gets the same reading', async () => {
    let reads = 0;
    const files = filesFrom(PROCESSES);
    const reader = new KernelUsageReader({
      readText: (path) => {
        if (path === '/proc/10/stat') reads += 1;
        return files(path);
      },
      questions: new Questions({ timeoutMs: 20_000 }),
    });
    const sources = new Map([['k', { pids: [10], cgroups: [] }]]);
    const [one, other] = await Promise.all([reader.read(sources), reader.read(sources)]);
    expect(one.get('k')).toBe(other.get('k'));
    expect(reads).toBe(1);
  });
});

describe('disk space', () => {
  const FILESYSTEMS = '\text4\n';
  const mountsOf = (count: number) =>
    [...Array(count).keys()].map((n) => `/dev/sd${String(n)} /m${String(n)} ext4 rw 0 0`).join('\n');
  const space = { bsize: 4096n, blocks: 100n, bavail: 40n };
  const disks = (count: number, statfs: (path: string) => Promise<FilesystemSpace>, itemTimeoutMs = 50) =>
    new DiskUsage({
      readText: filesFrom({ '/proc/mounts': mountsOf(count), '/proc/filesystems': FILESYSTEMS }),
      statfs,
      questions: new Questions({ timeoutMs: itemTimeoutMs }),
    });

  test('counts what others than root cannot have as used', async () => {
    expect(await disks(1, () => Promise.resolve(space), 20_000).measure()).toEqual([
      { device: '/dev/sd0', usedBytes: 245_760n, capacityBytes: 409_600n },
    ]);
  });

  test('a filesystem that hangs is left out and not asked again until it answers', async () => {
    const hanging = deferred<FilesystemSpace>();
    const asked: string[] = [];
    const usage = disks(3, (path) => {
      asked.push(path);
      return path === '/m0' ? hanging.promise : Promise.resolve(space);
    });
    const measured = async () => (await usage.measure()).map(({ device }) => device);
    expect(await measured()).toEqual(['/dev/sd1', '/dev/sd2']);
    expect(await measured()).toEqual(['/dev/sd1', '/dev/sd2']);
    expect(asked.filter((path) => path === '/m0')).toHaveLength(1);
    hanging.resolve(space);
    await hanging.promise;
    await Promise.resolve();
    expect(await measured()).toEqual(['/dev/sd0', '/dev/sd1', '/dev/sd2']);
  });

  test('many that hang never occupy more than three of the four threads', async () => {
    const asked: string[] = [];
    const usage = disks(5, (path) => {
      asked.push(path);
      return new Promise(() => undefined);
    });
    expect(await usage.measure()).toEqual([]);
    expect(await usage.measure()).toEqual([]);
    expect(asked).toEqual(['/m0', '/m1', '/m2']);
  });

  test('one that fails is left out', async () => {
    const usage = disks(2, (path) =>
      path === '/m0' ? Promise.reject(new Error('EACCES')) : Promise.resolve(space),
    );
    expect((await usage.measure()).map(({ device }) => device)).toEqual(['/dev/sd1']);
  });
});
