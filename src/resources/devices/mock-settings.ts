import { z } from 'zod';
import { InvalidResourceConfig } from '../errors.js';
import { MockPlugin } from './mock.js';

const amount = z.union([z.string(), z.number()]).transform(String);

const settingsSchema = z.strictObject({
  /** Device name, for example `cuda`. */
  key: z.string().min(1).default('mock'),
  /** Names of its slots; the first is the one that devices count in. */
  slots: z.array(z.string().min(1)).min(1).optional(),
  allocation: z.enum(['discrete', 'fraction']).default('discrete'),
  /** Smallest step of a fractional amount. */
  quantum: amount.optional(),
  devices: z
    .array(
      z.strictObject({
        id: z.union([z.string(), z.number()]).transform(String),
        model: z.string().default('mock device'),
        numa: z.int().min(0).optional(),
        amount: amount.default('1'),
        'memory-bytes': z.int().min(0).optional(),
      }),
    )
    .min(1),
});

/** One line: problems of a configuration are listed one a line. */
const messagesOf = ({ issues }: z.ZodError): string =>
  issues.map(({ path, message }) => [...path.map(String), message].join(': ')).join('; ');

/**
 * The mock devices of `[splenium.devices.mock]`.
 * @throws InvalidResourceConfig naming what is wrong with the table.
 */
export function mockPluginOf(settings: Readonly<Record<string, unknown>>): MockPlugin {
  const parsed = settingsSchema.safeParse(settings);
  if (!parsed.success) throw new InvalidResourceConfig(`splenium.devices.mock: ${messagesOf(parsed.error)}`);
  const { key, allocation, quantum, devices } = parsed.data;
  const slots = parsed.data.slots ?? [`${key}.device`];
  return new MockPlugin({
    key,
    slots: slots.map((slotName) => ({ slotName })),
    allocation:
      allocation === 'discrete'
        ? { kind: 'discrete', strategy: 'EVENLY' }
        : { kind: 'fraction', strategy: 'EVENLY', ...(quantum === undefined ? {} : { quantum }) },
    devices: devices.map((device) => ({
      deviceId: device.id,
      modelName: device.model,
      ...(device.numa === undefined ? {} : { numaNode: device.numa }),
      amount: device.amount,
      ...(device['memory-bytes'] === undefined ? {} : { memoryBytes: BigInt(device['memory-bytes']) }),
    })),
  });
}
