import { inPart, isTable, parseTable } from '../formats.js';
import { expecting } from '../parser.js';
import { key, unused } from './definition.js';

/** Tables by name, whose keys only their user knows. */
export const parseOpaqueTables = expecting(
  'a table of tables',
  (value: unknown): Readonly<Record<string, Readonly<Record<string, unknown>>>> => {
    if (!isTable(value)) throw new Error('expected a table of tables');
    return Object.fromEntries(
      Object.entries(value).map(([name, entry]) => [name, inPart(name, () => parseTable(entry))]),
    );
  },
);

export const plugins = key(
  'Settings of compute plugins by plugin name, passed on as they are; etcd config/plugins/accelerator replaces them',
  parseOpaqueTables,
  {},
);
export const docker = key('Docker settings of the original', parseTable, {}, unused);
export const k8s = key(
  'Kubernetes settings of the original',
  parseTable,
  {},
  {
    ...unused,
    aliases: ['kubernetes'],
  },
);
