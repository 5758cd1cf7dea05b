import { inPart, isTable, parseAmount, parseInteger } from './formats.js';
import { expecting } from './parser.js';

/** Cores by number, or by id; `ids` null: any. */
export interface AllocatedCpu {
  readonly count: number;
  readonly ids: readonly string[] | null;
}

export interface AllocatedDevices {
  /** Slot name -> exact decimal text. */
  readonly amounts: Readonly<Record<string, string>>;
  /** Device name -> device ids. */
  readonly ids: Readonly<Record<string, readonly string[]>>;
}

export const parseAllocatedCpu = expecting(
  'a number of cores, or a list of core ids',
  (value: unknown): AllocatedCpu => {
    if (Array.isArray(value)) {
      const ids = parseIds(value);
      return { count: ids.length, ids };
    }
    const count = parseInteger(value);
    if (count < 0) throw new Error(`Allocated cpu must not be a negative value, but given ${String(count)}`);
    return { count, ids: null };
  },
);

export const parseAllocatedDevices = expecting(
  'a table of slot name to amount, or device name to a list of device ids',
  (value: unknown): AllocatedDevices => {
    if (!isTable(value)) throw new Error('expected a table');
    const amounts: Record<string, string> = {};
    const ids: Record<string, readonly string[]> = {};
    for (const [name, entry] of Object.entries(value))
      inPart(name, () => {
        if (Array.isArray(entry)) ids[name] = parseIds(entry);
        else amounts[name] = parseAmount(entry);
      });
    return { amounts, ids };
  },
);

function parseIds(value: readonly unknown[]): readonly string[] {
  const ids = value.map((id, index) =>
    inPart(index, () => {
      if (typeof id === 'string' && id !== '') return id;
      if (typeof id === 'number' && Number.isInteger(id) && id >= 0) return String(id);
      throw new Error('expected a device id');
    }),
  );
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new Error(`device id "${twice}" stands twice`);
  return ids;
}
