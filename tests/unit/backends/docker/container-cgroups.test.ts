import { containerCgroups, parseCgroupMounts } from '../../../../src/backends/docker/container-cgroups.js';

const ID = 'c0ffee'.repeat(10) + 'beef';
const V2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n';
const V1 = [
  '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct',
  '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
  '36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices',
  '38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio',
  '40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd',
  '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
  '20 1 8:1 / / rw - ext4 /dev/sda1 rw',
].join('\n');

test.each([
  ['cgroupfs', `/docker/${ID}`],
  ['cgroupfs below a parent of its own', `/kernels/a/${ID}`],
  ['systemd', `/system.slice/docker-${ID}.scope`],
  ['systemd below a slice of its own', `/kernels.slice/kernels-a.slice/docker-${ID}.scope`],
])('version 2, driver %s', (_driver, path) => {
  expect(containerCgroups(`0::${path}\n`, parseCgroupMounts(V2), ID)).toEqual([`/sys/fs/cgroup${path}`]);
});

test('version 1 has a directory for each controller that is read', () => {
  const text = [
    '9:name=systemd:/',
    `8:devices:/docker/${ID}`,
    `6:blkio:/docker/${ID}`,
    `4:memory:/docker/${ID}`,
    `2:cpu,cpuacct:/docker/${ID}`,
    '0::/',
  ].join('\n');
  expect(containerCgroups(text, parseCgroupMounts(V1), ID)).toEqual([
    `/sys/fs/cgroup/blkio/docker/${ID}`,
    `/sys/fs/cgroup/memory/docker/${ID}`,
    `/sys/fs/cgroup/cpu,cpuacct/docker/${ID}`,
  ]);
});

test('an init system inside is counted from where the container begins', () => {
  expect(
    containerCgroups(`0::/system.slice/docker-${ID}.scope/init.scope\n`, parseCgroupMounts(V2), ID),
  ).toEqual([`/sys/fs/cgroup/system.slice/docker-${ID}.scope`]);
});

test('a mount that shows a part of the hierarchy is followed, and what it hides is left out', () => {
  const mounts = parseCgroupMounts('30 23 0:26 /outer /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n');
  expect(containerCgroups(`0::/outer/docker/${ID}\n`, mounts, ID)).toEqual([`/sys/fs/cgroup/docker/${ID}`]);
  expect(containerCgroups(`0::/docker/${ID}\n`, mounts, ID)).toEqual([]);
});

test.each([
  ['the whole machine', '0::/\n'],
  ['another container', `0::/docker/${'a'.repeat(64)}\n`],
  ['the group of all containers', '0::/docker\n'],
  ['a place outside of our namespace', `0::/../docker/${ID}\n`],
  ['nothing', ''],
])('%s is never taken for the container', (_what, text) => {
  expect(containerCgroups(text, parseCgroupMounts(V2), ID)).toEqual([]);
  expect(containerCgroups(text, parseCgroupMounts(V2), '')).toEqual([]);
});
