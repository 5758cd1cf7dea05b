import { parseDotfiles } from '../../../../src/kernel-runner/entrypoint/dotfiles.js';
import { identityOf } from '../../../../src/kernel-runner/entrypoint/identity.js';

test('the ids are those of the environment, each 9001 when it is not there', () => {
  expect(identityOf({})).toEqual({ uid: 9001, gid: 9001, additionalGids: [] });
  expect(identityOf({ LOCAL_USER_ID: '', LOCAL_GROUP_ID: '7' })).toMatchObject({ uid: 9001, gid: 7 });
  expect(identityOf({ LOCAL_USER_ID: '1', LOCAL_GROUP_ID: '2', ADDITIONAL_GIDS: '5, 2,,6,5' })).toEqual({
    uid: 1,
    gid: 2,
    additionalGids: [5, 6],
  });
});

test.each([
  [{ LOCAL_USER_ID: 'root' }, /LOCAL_USER_ID: 'root'/],
  [{ LOCAL_GROUP_ID: '-1' }, /LOCAL_GROUP_ID: '-1'/],
  [{ LOCAL_USER_ID: '4294967295' }, /LOCAL_USER_ID/],
  [{ ADDITIONAL_GIDS: '1,x' }, /ADDITIONAL_GIDS: 'x'/],
])('%j is refused', (environment, message) => {
  expect(() => identityOf(environment)).toThrow(message);
});

test('dotfiles stay below the home directory', () => {
  const parse = (path: string) =>
    parseDotfiles(JSON.stringify([{ path, data: 'x', perm: '640' }]), '/home/work');
  expect(parse('.config/a')).toEqual([{ path: '.config/a', data: 'x', mode: 0o640 }]);
  expect(parse('/home/work/b')).toEqual([{ path: 'b', data: 'x', mode: 0o640 }]);
  for (const path of ['../x', '/etc/passwd', '/home/work', '.'])
    expect(() => parse(path)).toThrow('outside of /home/work');
  expect(() => parseDotfiles('{}', '/home/work')).toThrow('no list');
  expect(() => parseDotfiles('[{"path":"a","data":"x","perm":"rw"}]', '/home/work')).toThrow('octal');
});
