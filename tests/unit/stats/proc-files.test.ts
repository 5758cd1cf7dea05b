import {
  parseCpuTimes,
  parseField,
  parseProcessCpuMs,
  parseRealMounts,
  parseResidentBytes,
  parseTraffic,
} from '../../../src/stats/proc-files.js';

test('CPU time is that of user and system mode, each CPU by itself', () => {
  const text =
    'cpu  30 5 12 900 1 0 0 0 0 0\ncpu0 10 5 2 400 1 0 0 0 0 0\ncpu1 20 0 10 500 0 0 0 0 0 0\nintr 5\n';
  expect([...parseCpuTimes(text)]).toEqual([
    ['0', 120],
    ['1', 300],
  ]);
});

test('traffic is the sum over all interfaces', () => {
  const text = [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls',
    '    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0',
    '  eth0:18446744073709551615 2    0    0    0     0          0         0       50       1    0    0    0     0',
  ].join('\n');
  expect(parseTraffic(text)).toEqual({ receivedBytes: 18446744073709551715n, sentBytes: 150n });
});

test('real filesystems: a block device each, counted once', () => {
  const filesystems =
    'nodev\tsysfs\nnodev\ttmpfs\nnodev\tnfs4\n\text4\n\txfs\n\tsquashfs\n\tvfat\n\tiso9660\n';
  const mounts = [
    'proc /proc proc rw 0 0',
    '/dev/sda1 / ext4 rw 0 0',
    '/dev/sda1 /var/lib/docker/overlay2 ext4 rw 0 0',
    '/dev/sda2 /boot/efi vfat rw 0 0',
    '/dev/sdb1 /data\\040with\\040space xfs rw 0 0',
    '/dev/loop0 /snap/core squashfs ro 0 0',
    'tmpfs /run tmpfs rw 0 0',
    'server:/export /mnt/nfs nfs4 rw 0 0',
    '/dev/sdc1 /var/lib/docker/btrfs ext4 rw 0 0',
    '/dev/sdd1 /proc/docker/runtime-runc/moby/x ext4 rw 0 0',
    'none /odd ext4 rw 0 0',
    'tank/home /home zfs rw 0 0',
  ].join('\n');
  expect(parseRealMounts(mounts, filesystems)).toEqual([
    { device: '/dev/sda1', mountPoint: '/', type: 'ext4' },
    { device: '/dev/sdb1', mountPoint: '/data with space', type: 'xfs' },
    { device: 'tank/home', mountPoint: '/home', type: 'zfs' },
  ]);
});

test('CPU time of a process counts its children, whatever its name is', () => {
  const fields = ['S', ...Array.from({ length: 10 }, () => '1'), '10', '20', '30', '40', '20', '0'];
  expect(parseProcessCpuMs(`42 (a) b (c) ${fields.join(' ')}`)).toBe(1000);
  expect(parseProcessCpuMs('')).toBeNull();
  expect(parseProcessCpuMs('42 (sh) S 1')).toBeNull();
});

test('memory and counters of a process', () => {
  expect(parseResidentBytes('Name:\tx\nVmRSS:\t    2048 kB\n')).toBe(2 * 1024 * 1024);
  expect(parseResidentBytes('Name:\tkthreadd\n')).toBe(0);
  const io = 'rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\n';
  expect(parseField(io, 'read_bytes')).toBe(4096);
  expect(parseField('inactive_file 12\n', 'inactive_file')).toBe(12);
  expect(parseField(io, 'absent')).toBeNull();
});
