import {
  architectureOf,
  namingProblem,
  nameAndTag,
  pathSafe,
} from '../../../../src/backends/docker/image-names.js';

test.each([
  ['a/b', 'a/b', 'latest'],
  ['a/b:1', 'a/b', '1'],
  ['host:5000/a/b', 'host:5000/a/b', 'latest'],
  ['host:5000/a/b:3.13-debian', 'host:5000/a/b', '3.13-debian'],
])('%s is a name and a tag', (canonical, name, tag) => {
  expect(nameAndTag(canonical)).toEqual({ name, tag });
});

test.each(['python:3.13', 'a/b:1', 'host:5000/a/b', 'host:5000/a/b:3.13-debian', 'a/b:X_1.2-y'])(
  '%s is a name that managers can read',
  (name) => {
    expect(namingProblem(name)).toBeNull();
  },
);

test.each(['https://host/a:1', '//host/a:1', 'host/:1', 'a/b:', 'a/b:1-', 'a/b:-1', 'a/b:1_', 'a/b:.1'])(
  '%s is none',
  (name) => {
    expect(namingProblem(name)).not.toBeNull();
  },
);

test.each(['python', 'a/b:1', 'host:5000/a/b:1', `sha256:${'0'.repeat(64)}`, 'a@sha256:00', 'a/b__c.d-e'])(
  '%s may stand in a path',
  (name) => {
    expect(pathSafe(name)).toBe(name);
  },
);

test.each(['', '.', '..', '../x', 'a/../x', 'a/..', 'a//b', '/a', 'a/', 'a?b', 'a#b', 'a%2e', 'a b', 'a\n'])(
  '%j may not',
  (name) => {
    expect(() => pathSafe(name)).toThrow(/is no name of an image/);
  },
);

test.each([
  ['amd64', 'x86_64'],
  ['arm64', 'aarch64'],
  ['i686', 'x86'],
  ['x86_64', 'x86_64'],
  ['riscv64', 'riscv64'],
  ['', 'x86_64'],
])('architecture %j is %s to managers', (engineName, name) => {
  expect(architectureOf(engineName)).toBe(name);
});
