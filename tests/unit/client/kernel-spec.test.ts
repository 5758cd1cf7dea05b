import { createCodec } from '../../../src/codec/index.js';
import { kernelCreationArguments } from '../../../src/client/kernel-spec.js';
import { findMethod } from '../../../src/rpc/method-table.js';
import { parseWire } from '../../../src/rpc/wire/parse.js';

const codec = createCodec();
const KERNEL = '0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e';

/** Each argument as the server parses it. */
function parsed(spec: Parameters<typeof kernelCreationArguments>[0]): Record<string, unknown> {
  const args = kernelCreationArguments(spec) as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    (findMethod('create_kernels')?.params ?? []).map(({ name, schema }) => [
      name,
      parseWire(schema, codec.unpack(codec.pack(args[name])), name),
    ]),
  );
}

test('a spec with nothing but an image is a complete request', () => {
  const args = parsed({ image: 'localhost/test/python:3.11', kernelId: KERNEL, architecture: 'x86_64' });
  expect(args['raw_kernel_ids']).toEqual([KERNEL]);
  expect(args['raw_configs']).toEqual([
    expect.objectContaining({
      auto_pull: 'none',
      session_type: 'interactive',
      cluster_role: 'main',
      cluster_hostname: 'main1',
      resource_slots: { cpu: '1', mem: '1073741824' },
    }),
  ]);
  expect(args['kernel_image_refs']).toEqual(
    new Map([[KERNEL, { canonical: 'localhost/test/python:3.11', architecture: 'x86_64', isLocal: true }]]),
  );
});

test('ids are made up where the spec has none', () => {
  const [one, two] = [1, 2].map(() => kernelCreationArguments({ image: 'python:3' }));
  expect(one?.raw_session_id).not.toBe(two?.raw_session_id);
  expect(one?.raw_kernel_ids).not.toEqual(two?.raw_kernel_ids);
});

test.each([
  'python:3',
  'test/python:3',
  'localhost/test/python:3.11',
  'cr.backend.ai:8443/a/b/python:3-ubuntu',
])('the image name %s arrives as it is', (image) => {
  const [ref] = kernelCreationArguments({ image }).kernel_image_refs.values();
  expect(ref?.canonical).toBe(image);
});

test.each(['', 'python', 'python:', ':3', 'a/b', 'python:3/x'])('%p is no image name', (image) => {
  expect(() => kernelCreationArguments({ image })).toThrow(
    expect.objectContaining({ pythonName: 'ValueError' }),
  );
});
