import { withKernelUser, type AccountFiles } from '../../../../src/kernel-runner/entrypoint/account-files.js';

const ROOT = 'root:x:0:0:root:/root:/bin/sh\n';
const files = (changes: Partial<AccountFiles> = {}): AccountFiles => ({
  passwd: ROOT,
  group: 'root:x:0:\n',
  shadow: null,
  ...changes,
});
const user = (uid: number, gid = uid, additionalGids: readonly number[] = []) => ({
  uid,
  gid,
  additionalGids,
});
const SHELL = '/bin/bash';

test('an image without the ids gets a user and a group work, and the groups', () => {
  expect(withKernelUser(files(), user(1000, 1001, [42, 2000]), SHELL)).toEqual({
    passwd: `${ROOT}work:x:1000:1001::/home/work:/bin/bash\n`,
    group: 'root:x:0:\nwork:x:1001:\ngrpread:x:1002:work\ngid42:x:42:work\ngid2000:x:2000:work\n',
    shadow: null,
  });
});

test('an image without account files gets them', () => {
  expect(withKernelUser({ passwd: null, group: null, shadow: null }, user(5), '/bin/sh')).toEqual({
    passwd: 'root:x:0:0:root:/root:/bin/sh\nwork:x:5:5::/home/work:/bin/sh\n',
    group: 'root:x:0:\nwork:x:5:\ngrpread:x:1002:work\n',
    shadow: null,
  });
});

test('a user of the image with the uid becomes work, where it stands and in its groups; a group keeps its name', () => {
  const image = files({
    passwd: `${ROOT}ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/sh\nlast:x:7:7::/:/bin/false\n`,
    group: 'root:x:0:\nubuntu:x:1000:\naudio:x:29:pulse,ubuntu\n',
    shadow: 'root:*:1::::::\nubuntu:secret:1::::::\n',
  });
  expect(withKernelUser(image, user(1000, 1000, [29]), SHELL)).toEqual({
    passwd: `${ROOT}work:x:1000:1000:Ubuntu:/home/work:/bin/bash\nlast:x:7:7::/:/bin/false\n`,
    group: 'root:x:0:\nubuntu:x:1000:\naudio:x:29:pulse,work\n',
    shadow: 'root:*:1::::::\nwork:!:::::::\n',
  });
});

test('a committed image with another work ends with one work of the wanted ids', () => {
  const image = files({
    passwd: `${ROOT}work:x:2000:2000::/home/work:/bin/sh\nother:x:3000:3000::/:/bin/sh\n`,
    group: 'root:x:0:\nwork:x:2000:work\nother:x:3000:\n',
  });
  const renumbered = withKernelUser(image, user(1000, 1001), SHELL);
  expect(renumbered.passwd).toBe(
    `${ROOT}work:x:1000:1001::/home/work:/bin/bash\nother:x:3000:3000::/:/bin/sh\n`,
  );
  expect(renumbered.group).toBe('root:x:0:\nwork:x:1001:work\nother:x:3000:\n');
  // Both ids have an owner already: one of another name, and the stale one.
  const merged = withKernelUser(image, user(3000), SHELL);
  expect(merged.passwd).toBe(`${ROOT}work:x:3000:3000::/home/work:/bin/bash\n`);
  expect(merged.group).toBe('root:x:0:\nother:x:3000:\n');
});

test('what is right stays as it is', () => {
  const once = withKernelUser(files(), user(1000, 1000, [42]), SHELL);
  expect(withKernelUser(once, user(1000, 1000, [42]), SHELL)).toEqual(once);
});

test('lines that are none are kept', () => {
  const odd = files({ passwd: `${ROOT}+::::::\n# comment\n`, group: 'root:x:0:\n+:::\n' });
  const { passwd, group } = withKernelUser(odd, user(9), SHELL);
  expect(passwd).toBe(`${ROOT}+::::::\n# comment\nwork:x:9:9::/home/work:/bin/bash\n`);
  expect(group).toContain('+:::\n');
});

test('root stays root', () => {
  expect(withKernelUser(files(), user(0, 0, [42]), SHELL)).toEqual({
    passwd: ROOT,
    group: 'root:x:0:\ngrpread:x:1002:\n',
    shadow: null,
  });
});
