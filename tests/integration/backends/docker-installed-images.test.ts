import { Readable } from 'node:stream';
import type { BackendImages } from '../../../src/backends/backend.js';
import { Engine } from '../../../src/backends/docker/engine.js';
import { DockerImages } from '../../../src/backends/docker/images.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { busyboxRoot } from '../../support/docker-images.js';
import { RecordedLog } from '../../support/recorded-log.js';

const SPEC = 'LABEL ai.backend.kernelspec=1';
const PATIENCE_MS = 120_000;

await describeWithEngine('images that are installed', (engine) => {
  let images: BackendImages;
  let log: RecordedLog;

  beforeEach(() => {
    log = new RecordedLog();
    images = new DockerImages(new Engine({ socketPath: engine.socketPath }).images, log);
  });
  afterEach(async () => {
    for (const { Id } of await engine.docker.listContainers({ all: true }))
      await engine.docker.getContainer(Id).remove({ force: true });
    for (const { Id } of await engine.docker.listImages())
      await engine.docker.getImage(Id).remove({ force: true });
  }, PATIENCE_MS);

  /** @returns its id. */
  const make = async (name: string | null, changes?: string): Promise<string> => {
    const [repo, tag] = name?.split(':') ?? [];
    const options = { ...(repo === undefined ? {} : { repo, tag }), ...(changes ? { changes } : {}) };
    const root = Readable.from(await busyboxRoot());
    const answer = (await engine.docker.importImage(root, options)) as AsyncIterable<Buffer>;
    let text = '';
    for await (const chunk of answer) text += String(chunk);
    const id = /sha256:[0-9a-f]{64}/.exec(text)?.[0];
    if (id === undefined) throw new Error(text);
    return id;
  };
  const names = async () => (await images.list()).map(({ canonical }) => canonical).sort();

  test(
    'those with labels are, under each of their names, with id and architecture',
    async () => {
      const id = await make('stable/python:3.13-debian', SPEC);
      await engine.docker.getImage(id).tag({ repo: 'registry.example:5000/stable/python', tag: '3.13' });
      await make('stable/labelled:1', 'LABEL anything=1');
      await make('stable/newer:1', 'LABEL ai.backend.kernelspec=2');
      await make('stable/unreadable:1', 'LABEL ai.backend.kernelspec=one');
      await make('stable/plain:1');
      await make('stable/custom:1', 'ENTRYPOINT ["/bin/busybox"]\nLABEL ai.backend.kernelspec=1');
      await make(null, SPEC);
      const architecture = process.arch === 'x64' ? 'x86_64' : 'aarch64';
      const found = await images.list();
      expect(found).toContainEqual({ canonical: 'stable/python:3.13-debian', digest: id, architecture });
      expect(await names()).toEqual([
        'registry.example:5000/stable/python:3.13',
        'stable/custom:1',
        'stable/labelled:1',
        'stable/python:3.13-debian',
      ]);
    },
    PATIENCE_MS,
  );

  test(
    'a name that managers cannot read is left out, with one warning however often it is seen',
    async () => {
      await make('stable/odd:1_', SPEC);
      await make('stable/good:1', SPEC);
      expect(await names()).toEqual(['stable/good:1']);
      expect(await names()).toEqual(['stable/good:1']);
      expect(log.lines.filter(({ level }) => level === 'warn')).toMatchObject([
        { fields: { image: 'stable/odd:1_' } },
      ]);
    },
    PATIENCE_MS,
  );

  test(
    'a removed one is gone from the next list; one that is not there is an error',
    async () => {
      await make('stable/one:1', SPEC);
      await make('stable/two:1', SPEC);
      expect(await names()).toEqual(['stable/one:1', 'stable/two:1']);
      const options = { force: false, isPruningParents: true };
      await images.remove('stable/one:1', options);
      expect(await names()).toEqual(['stable/two:1']);
      await expect(images.remove('stable/one:1', options)).rejects.toMatchObject({
        code: 'BACKEND_ENGINE_FAILED',
        details: { status: 404 },
      });
    },
    PATIENCE_MS,
  );

  test(
    'one that a running container uses stays, by force too, and only a stopped one gives way to force',
    async () => {
      const name = 'stable/used:1';
      await make(name, SPEC);
      const container = await engine.docker.createContainer({
        Image: name,
        Cmd: ['/bin/busybox', 'sleep', '1000'],
        HostConfig: { NetworkMode: 'none' },
      });
      await container.start();
      const remove = (force: boolean) => images.remove(name, { force, isPruningParents: true });
      await expect(remove(false)).rejects.toMatchObject({ details: { status: 409 } });
      expect(await names()).toEqual([name]);
      await container.kill();
      await container.wait();
      await expect(remove(false)).rejects.toMatchObject({ details: { status: 409 } });
      await remove(true);
      expect(await names()).toEqual([]);
    },
    PATIENCE_MS,
  );

  test('a name that leads elsewhere in the engine is refused before it is asked', async () => {
    const containers = await engine.docker.listContainers({ all: true });
    for (const name of ['../containers/x', 'a/../../networks/x', 'a?force=1', '', '/a', 'a//b', 'a#b'])
      await expect(images.remove(name, { force: true, isPruningParents: true })).rejects.toMatchObject({
        pythonName: 'ValueError',
      });
    expect(await engine.docker.listContainers({ all: true })).toEqual(containers);
  });
});
