import { checkVersion } from '../../../../src/backends/docker/engine-version.js';

test.each([
  ['19.03.0', '1.40'],
  ['28.5.1', '1.51'],
  ['5.4.2', '1.41'],
  ['99.0', '2.0'],
  ['unknown', 'unknown'],
])('an engine of version %s with API %s is taken', (engine, api) => {
  expect(() => {
    checkVersion({ engine, api });
  }).not.toThrow();
});

test.each([
  ['18.09.9', '1.39'],
  ['1.12.6', '1.24'],
  ['0.1', '0.99'],
])('an engine of version %s with API %s is too old, and is told what it needs', (engine, api) => {
  expect(() => {
    checkVersion({ engine, api });
  }).toThrow(
    expect.objectContaining({
      code: 'BACKEND_UNAVAILABLE',
      message: `the container engine is too old: version ${engine} with API ${api} was found, 19.03 with API 1.40 or newer is needed: upgrade the engine`,
    }),
  );
});
