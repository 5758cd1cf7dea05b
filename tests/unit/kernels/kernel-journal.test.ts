import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AgentId, parseAgentId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import { Kernel } from '../../../src/kernels/kernel.js';
import { KernelJournal } from '../../../src/kernels/kernel-journal.js';
import { decodeRecord, encodeRecord } from '../../../src/kernels/kernel-record.js';
import { kernelRequest } from '../../support/kernel-requests.js';

const agentId = parseAgentId('i-one');
let stateDirectory: string;
beforeEach(async () => {
  stateDirectory = await mkdtemp(join(tmpdir(), 'splenium-journal-'));
});
afterEach(async () => {
  await rm(stateDirectory, { recursive: true, force: true });
});

function journalOf(id: AgentId = agentId, errors: string[] = []): KernelJournal {
  const logger = {
    ...silentLogger,
    error: (message: string, fields?: object) => errors.push(`${message} ${JSON.stringify(fields)}`),
  };
  return new KernelJournal({ stateDirectory, agentId: id, logger });
}

function fullKernel(): Kernel {
  const kernel = Kernel.requested(
    agentId,
    kernelRequest({
      config: {
        uid: 1000,
        supplementaryGids: [44],
        mounts: [
          {
            name: 'data',
            vfid: 'user:1/2',
            vfsubpath: '.',
            hostPath: '/vfroot/data',
            kernelPath: '/home/work/data',
            permission: 'wd',
            usageMode: 'data',
          },
        ],
      },
    }),
    1_700_000_000_123,
  );
  kernel.learn({
    allocation: { slots: { cpu: '1' }, allocations: { cpu: { cpu: { '3': '1' } } } },
    ports: { replIn: 30000, replOut: 30001, booked: [30000, 30001, 30002] },
    servicePorts: [
      { name: 'sshd', protocol: 'tcp', containerPorts: [2200], hostPorts: [30002], isInference: false },
      {
        name: 'jupyter',
        protocol: 'http',
        containerPorts: [8070],
        hostPorts: [null],
        isInference: false,
        urlTemplate: 'x',
        allowedArguments: ['-a'],
        allowedEnvs: ['B'],
      },
    ],
    endpoints: { replIn: 'tcp://127.0.0.1:30000', replOut: 'tcp://127.0.0.1:30001' },
    result: {
      id: kernel.id,
      containerId: 'c',
      kernelHost: 'h',
      replInPort: 30000,
      replOutPort: 30001,
      servicePorts: [],
      resourceSpec: { slots: { cpu: '1' }, allocations: {}, scratchDiskSizeBytes: 0, mounts: [] },
      attachedDevices: {
        cuda: [{ deviceId: '0', modelName: 'm', data: { memBytes: 85_899_345_920n, smp: 2 } }],
        cpu: [{ deviceId: '3', modelName: '', data: { cores: 1 } }],
      },
      agentAddr: 'tcp://127.0.0.1:6001',
      scalingGroup: 'default',
    },
  });
  kernel.terminate({ reason: 'idle-timeout', suppressEvents: true, exitCode: -9 });
  return kernel;
}

test('a record comes back as it was, big integers and optional fields included', () => {
  const { facts } = fullKernel();
  expect(decodeRecord(encodeRecord(facts))).toEqual(facts);
});

test.each([
  ['an empty file', ''],
  ['a cut file', '{"version":1,'],
  ['another kind of file', '[]'],
  ['a record of a version to come', encodeRecord(fullKernel().facts).replace('"version":1', '"version":2')],
  [
    'a record with a bad id',
    encodeRecord(fullKernel().facts).replaceAll(/"kernelId":"[^"]*"/g, '"kernelId":"../x"'),
  ],
])('%s is refused without quoting it', (_, text) => {
  expect(() => decodeRecord(text)).toThrow(
    expect.objectContaining({
      code: 'ARGS_INVALID_VALUE',
      message: expect.not.stringContaining('private') as unknown,
    }),
  );
});

test('the journal gives back the last state of every kernel that was not forgotten', async () => {
  const journal = journalOf();
  const [kept, forgotten] = [fullKernel(), fullKernel()];
  const early = Kernel.requested(agentId, kept.request, 5);
  await journal.record(early);
  await journal.record(forgotten);
  await journal.record(kept);
  await journal.forget(forgotten.id);
  await journal.forget(forgotten.id);
  expect(await journalOf().load()).toEqual([kept.facts]);
});

test('writes of one kernel reach the disk in order', async () => {
  const journal = journalOf();
  const kernel = fullKernel();
  const writes = Array.from({ length: 20 }, (_, index) => {
    kernel.learn({ startedAtMs: index });
    return journal.record(kernel);
  });
  void journal.forget(kernel.id);
  kernel.learn({ startedAtMs: 99 });
  writes.push(journal.record(kernel));
  await journal.idle();
  await Promise.all(writes);
  expect((await journal.load())[0]?.startedAtMs).toBe(99);
});

test('a record is one file that only its owner can read, in the directory of its agent', async () => {
  const journal = journalOf();
  const kernel = fullKernel();
  await journal.record(kernel);
  const path = join(stateDirectory, 'agents', 'i-one', 'kernels', `${kernel.id}.json`);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(journal.directory)).toEqual([`${kernel.id}.json`]);
  expect(await journalOf(parseAgentId('i-two')).load()).toEqual([]);
});

test('what a crash in the middle of a write leaves is cleared away', async () => {
  const journal = journalOf();
  const kernel = fullKernel();
  await journal.record(kernel);
  await writeFile(join(journal.directory, `${kernel.id}.0.tmp`), '{"version":1');
  expect(await journal.load()).toHaveLength(1);
  expect(await readdir(journal.directory)).toEqual([`${kernel.id}.json`]);
});

test('a record that cannot be read is set aside once, with its content, and the others are read', async () => {
  const errors: string[] = [];
  const journal = journalOf(agentId, errors);
  const [sound, damaged] = [fullKernel(), fullKernel()];
  await journal.record(sound);
  await writeFile(join(journal.directory, `${damaged.id}.json`), 'not a record');
  expect(await journal.load()).toEqual([sound.facts]);
  expect(await journal.load()).toEqual([sound.facts]);
  expect(errors).toHaveLength(1);
  const aside = (await readdir(journal.directory)).find((name) =>
    name.startsWith(`${damaged.id}.json.unreadable`),
  );
  expect(await readFile(join(journal.directory, String(aside)), 'utf8')).toBe('not a record');
});

test('the record of another kernel or agent under this name is set aside', async () => {
  const errors: string[] = [];
  const journal = journalOf(agentId, errors);
  const [kernel, other] = [fullKernel(), fullKernel()];
  await journal.record(kernel);
  await writeFile(join(journal.directory, `${other.id}.json`), encodeRecord(kernel.facts));
  const foreign = Kernel.requested(parseAgentId('i-two'), kernelRequest(), 1);
  await writeFile(join(journal.directory, `${foreign.id}.json`), encodeRecord(foreign.facts));
  expect(await journal.load()).toEqual([kernel.facts]);
  expect(errors).toHaveLength(2);
});

test('a disk that refuses keeps the record of before', async () => {
  const journal = journalOf();
  const kernel = fullKernel();
  await journal.record(kernel);
  await writeFile(join(stateDirectory, 'file'), '');
  const broken = new KernelJournal({
    stateDirectory: join(stateDirectory, 'file'),
    agentId,
    logger: silentLogger,
  });
  await expect(broken.record(kernel)).rejects.toMatchObject({ code: 'ENOTDIR' });
  expect(await journal.load()).toHaveLength(1);
});
