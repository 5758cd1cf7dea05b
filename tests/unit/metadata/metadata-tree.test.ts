import { publicVariables } from '../../../src/metadata/environment-file.js';
import { placeOf } from '../../../src/metadata/metadata-tree.js';

const LEAVES = ['meta-data/envs', 'meta-data/sandbox', 'meta-data/local-ipv4', 'meta-data/net/eth0/mac'];

describe('paths of the metadata server', () => {
  test.each<[string, readonly string[]]>([
    ['/', ['latest/']],
    ['', ['latest/']],
    ['/latest', ['meta-data/']],
    ['/latest/', ['meta-data/']],
    ['/2021-01-03', ['meta-data/']],
    ['/latest/meta-data', ['envs', 'local-ipv4', 'net/', 'sandbox']],
    ['/latest/meta-data/', ['envs', 'local-ipv4', 'net/', 'sandbox']],
    ['//latest//meta-data/net', ['eth0/']],
  ])('%s lists what is below it', (path, names) => {
    expect(placeOf(path, LEAVES)).toEqual({ kind: 'list', names });
  });

  test('plugins are applications of their own', () => {
    const leaves = [...LEAVES, 'extension/a/x', 'extension/a/y/z', 'extension/b/x'];
    const names = (path: string) => {
      const place = placeOf(path, leaves);
      return place.kind === 'list' ? place.names : place.kind;
    };
    expect(names('/latest')).toEqual(['meta-data/', 'extension/a/', 'extension/b/']);
    expect(names('/latest/extension')).toEqual(['a/', 'b/']);
    expect(names('/latest/extension/a')).toEqual(['x', 'y/']);
  });

  test('a value is found with and without a slash behind it', () => {
    const leaf = { kind: 'leaf', path: 'meta-data/envs' };
    expect(placeOf('/latest/meta-data/envs', LEAVES)).toEqual(leaf);
    expect(placeOf('/latest/meta-data/envs/', LEAVES)).toEqual(leaf);
  });

  test.each([
    '/latest/meta-data/env',
    '/latest/user-data',
    '/latest/extension',
    '/v1/meta-data/envs',
    '/latest/meta-data/envs/PATH',
    '/latest/../latest/meta-data/envs',
    '/latest/meta-data%2Fenvs',
  ])('%s leads nowhere', (path) => {
    expect(placeOf(path, LEAVES)).toEqual({ kind: 'none' });
  });
});

describe('the environment of a kernel', () => {
  test('is read a variable a line, whatever the value holds, the last one of a name counting', () => {
    expect(publicVariables('A=1\nB=x=y\nnoise\n=odd\nC=\nA=2\n__proto__=p\n')).toEqual(
      Object.fromEntries([
        ['A', '2'],
        ['B', 'x=y'],
        ['C', ''],
        ['__proto__', 'p'],
      ]),
    );
  });

  test('leaves out variables whose names say that they are secrets', () => {
    const text =
      'BACKEND_ACCESS_KEY=a\nBACKEND_SECRET_KEY=b\nHF_TOKEN=c\nDB_PASSWORD=d\nTOKEN_FILE=/e\nLANG=f\n';
    expect(publicVariables(text)).toEqual({ TOKEN_FILE: '/e', LANG: 'f' });
  });
});
