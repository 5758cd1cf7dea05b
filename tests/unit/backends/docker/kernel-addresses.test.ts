import type { Container, ListedContainer } from '../../../../src/backends/docker/engine-schemas.js';
import { containerSchema, listedContainersSchema } from '../../../../src/backends/docker/engine-schemas.js';
import { KernelAddresses } from '../../../../src/backends/docker/kernel-addresses.js';

const LABELS = { 'ai.backend.owner': 'i-one' };
const settings = (...addresses: readonly string[]) => ({
  Networks: Object.fromEntries(
    addresses.map((address, index) => [
      `net${String(index)}`,
      address.includes(':') ? { IPAddress: '', GlobalIPv6Address: address } : { IPAddress: address },
    ]),
  ),
});

/** An engine as far as it is asked for addresses; what it says can change. */
class Addresses {
  containers: Record<string, readonly string[]> = {};
  readonly calls: string[] = [];

  list(): Promise<readonly ListedContainer[]> {
    this.calls.push('list');
    const listed = Object.entries(this.containers).map(([Id, addresses]) => ({
      Id,
      State: 'running',
      Labels: LABELS,
      NetworkSettings: settings(...addresses),
    }));
    return Promise.resolve(listedContainersSchema.parse(listed));
  }

  inspect(id: string): Promise<Container | null> {
    this.calls.push(`inspect ${id}`);
    const addresses = this.containers[id];
    if (addresses === undefined) return Promise.resolve(null);
    return Promise.resolve(
      containerSchema.parse({
        Id: id,
        State: { Status: 'running' },
        Config: { Labels: LABELS },
        HostConfig: {},
        NetworkSettings: settings(...addresses),
      }),
    );
  }
}

describe('addresses of kernels', () => {
  let engine: Addresses;
  let addresses: KernelAddresses;
  const find = async (address: string) => (await addresses.find(address))?.id ?? null;

  beforeEach(() => {
    engine = new Addresses();
    engine.containers = { one: ['172.17.0.2', '10.1.0.2'], two: ['172.17.0.3', 'fd00::3'], stopped: [''] };
    addresses = new KernelAddresses(engine);
  });

  test('a container is found by its address on any of its networks, in IPv6 and over an IPv6 socket too', async () => {
    expect(await find('172.17.0.2')).toBe('one');
    expect(await find('10.1.0.2')).toBe('one');
    expect(await find('fd00::3')).toBe('two');
    expect(await find('::ffff:172.17.0.3')).toBe('two');
    expect(await find('172.17.0.9')).toBeNull();
    expect(await find('')).toBeNull();
  });

  test('a caller that is known costs one inspection', async () => {
    await find('172.17.0.2');
    await find('172.17.0.2');
    await find('172.17.0.3');
    expect(engine.calls).toEqual(['list', 'inspect one', 'inspect two']);
  });

  test('an address that has gone to another container leads to that one, though nobody said so', async () => {
    await find('172.17.0.2');
    engine.containers = { new: ['172.17.0.2'] };
    expect(await find('172.17.0.2')).toBe('new');
    engine.containers = { new: [] };
    expect(await find('172.17.0.2')).toBeNull();
  });

  test('an address that two containers have is nobody’s', async () => {
    await find('172.17.0.2');
    engine.containers = { ...engine.containers, three: ['172.17.0.2'] };
    addresses.forget();
    expect(await find('172.17.0.2')).toBeNull();
    expect(await find('10.1.0.2')).toBe('one');
  });

  test('callers at the same time share lists that began after they came', async () => {
    const found = await Promise.all(
      ['172.17.0.2', '172.17.0.3', '172.17.0.4', '172.17.0.5'].map((address) => find(address)),
    );
    expect(found).toEqual(['one', 'two', null, null]);
    expect(engine.calls).toEqual(['list', 'list']);
  });

  test('an engine that fails is no stranger, and is asked again', async () => {
    const list = engine.list.bind(engine);
    engine.list = () => Promise.reject(new Error('away'));
    await expect(addresses.find('172.17.0.2')).rejects.toThrow('away');
    engine.list = list;
    expect(await find('172.17.0.2')).toBe('one');
  });
});
