import {
  baseFor,
  cgroupMount,
  findCgroupBase,
  ownCgroup,
} from '../../../../src/backends/process/memory-cgroup.js';

const HYBRID = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;

describe('memory cgroup', () => {
  test('finds its own cgroup of either version', () => {
    const text = '4:memory:/user.slice/a\n3:cpu,cpuacct:/b\n0::/system.slice/splenium.service\n';
    expect(ownCgroup(text, 1)).toBe('/user.slice/a');
    expect(ownCgroup(text, 2)).toBe('/system.slice/splenium.service');
    expect(ownCgroup('0::/x\n', 1)).toBeNull();
    expect(ownCgroup('4:memory:/x\n', 2)).toBeNull();
  });

  test('finds where the hierarchies are mounted', () => {
    expect(cgroupMount(HYBRID, 1)).toEqual({ root: '/', mountPoint: '/sys/fs/cgroup/memory' });
    expect(cgroupMount(HYBRID, 2)).toEqual({ root: '/', mountPoint: '/sys/fs/cgroup/unified' });
    expect(cgroupMount('', 2)).toBeNull();
  });

  test('kernels go beside a daemon that lives in a subgroup of its unit, else below it, never above the unit', () => {
    expect(baseFor('/sys/fs/cgroup/system.slice/splenium.service/agent', 2)).toBe(
      '/sys/fs/cgroup/system.slice/splenium.service',
    );
    expect(baseFor('/sys/fs/cgroup/system.slice/splenium.service', 2)).toBe(
      '/sys/fs/cgroup/system.slice/splenium.service',
    );
    expect(baseFor('/sys/fs/cgroup/some/where', 2)).toBe('/sys/fs/cgroup/some/where');
  });

  test('a directory that is no cgroup is refused with the reasons', async () => {
    const search = await findCgroupBase('/proc');
    expect(search.base).toBeNull();
    expect(search.why).toMatch(/cgroup v2: .*; cgroup v1: /);
  });
});
