import { execFile } from 'node:child_process';
import { z } from 'zod';
import { hasCode, messageOf, RuntimeError } from '../../core/errors.js';

const FIELDS = [
  'index',
  'uuid',
  'name',
  'pci.bus_id',
  'memory.total',
  'memory.used',
  'utilization.gpu',
  'temperature.gpu',
  'mig.mode.current',
  'driver_version',
] as const;
const MEBIBYTE = 1024n ** 2n;
const TIMEOUT_MS = 20_000;
const MOST_OUTPUT_BYTES = 16 * 1024 ** 2;

/** One row of `nvidia-smi --query-gpu`. What the driver does not tell (`[N/A]`, `[Unknown Error]`) is null. */
export interface GpuRow {
  readonly index: string;
  readonly uuid: string | null;
  readonly name: string;
  readonly busId: string;
  readonly memoryBytes: bigint | null;
  readonly memoryUsedBytes: bigint | null;
  readonly utilizationPercent: number | null;
  readonly temperatureCelsius: number | null;
  readonly migEnabled: boolean;
  readonly driverVersion: string;
}

/** What `nvidia-smi -q -x` adds: versions and the driver's own complaints about a GPU. */
export interface GpuReport {
  readonly driverVersion: string;
  readonly cudaVersion: string;
  /** PCI address, as in the rows -> what is wrong; GPUs without complaint are left out. */
  readonly complaints: ReadonlyMap<string, readonly string[]>;
}

/** Asks the NVIDIA driver through its command line tool. */
export class NvidiaSmi {
  readonly #command: string;

  constructor(command = 'nvidia-smi') {
    this.#command = command;
  }

  /** Null: the tool is not installed. @throws RuntimeError when it fails. */
  async rows(): Promise<readonly GpuRow[] | null> {
    const text = await this.#run([`--query-gpu=${FIELDS.join(',')}`, '--format=csv,noheader,nounits']);
    return text === null ? null : parseGpuRows(text);
  }

  async report(): Promise<GpuReport | null> {
    const text = await this.#run(['-q', '-x']);
    return text === null ? null : parseGpuReport(text);
  }

  #run(args: readonly string[]): Promise<string | null> {
    return new Promise((resolve, reject) => {
      const options = { timeout: TIMEOUT_MS, maxBuffer: MOST_OUTPUT_BYTES, encoding: 'utf8' as const };
      execFile(this.#command, args, options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else if (hasCode(error, 'ENOENT')) resolve(null);
        // One lost GPU makes the tool fail although it has told about the others.
        else if (stdout.split('\n').some((line) => /^\d+, /.test(line))) resolve(stdout);
        else {
          const said = (stdout + stderr).trim().slice(0, 300);
          reject(new RuntimeError(`nvidia-smi: ${said === '' ? messageOf(error) : said}`, { cause: error }));
        }
      });
    });
  }
}

const COLUMNS = z.array(z.string()).length(FIELDS.length);

/** Lines that are no rows are passed over: the tool writes its warnings among them. */
export function parseGpuRows(csv: string): readonly GpuRow[] {
  return csv.split('\n').flatMap((line): GpuRow[] => {
    const columns = COLUMNS.safeParse(line.split(',').map((column) => column.trim()));
    if (!columns.success || !/^\d+$/.test(columns.data[0] ?? '')) return [];
    const [index = '', uuid = '', name = '', busId = '', total, used, utilization, temperature, mig, driver] =
      columns.data;
    return [
      {
        index,
        uuid: /^GPU-[0-9a-f-]+$/i.test(uuid) ? uuid : null,
        name,
        busId,
        memoryBytes: mebibytes(total),
        memoryUsedBytes: mebibytes(used),
        utilizationPercent: numberOf(utilization),
        temperatureCelsius: numberOf(temperature),
        migEnabled: mig === 'Enabled',
        driverVersion: driver ?? '',
      },
    ];
  });
}

const numberOf = (text: string | undefined): number | null =>
  text !== undefined && /^\d+(\.\d+)?$/.test(text) ? Number(text) : null;

const mebibytes = (text: string | undefined): bigint | null =>
  text !== undefined && /^\d+$/.test(text) ? BigInt(text) * MEBIBYTE : null;

const COMPLAINTS: readonly (readonly [tag: string, isBad: (value: string) => boolean, text: string])[] = [
  ['remapped_row_failure', (value) => value === 'Yes', 'row remapping failed'],
  ['pending_blacklist', (value) => value === 'Yes', 'pages wait to be retired'],
  ['pending_retirement', (value) => value === 'Yes', 'pages wait to be retired'],
  ['gpu_recovery_action', (value) => !['None', 'N/A', ''].includes(value), 'the driver wants the GPU reset'],
];

/** Reads the few elements needed; the document has no text that could hold markup. */
export function parseGpuReport(xml: string): GpuReport {
  const complaints = new Map<string, readonly string[]>();
  for (const [, busId = '', body = ''] of xml.matchAll(/<gpu id="([^"]*)">([\s\S]*?)<\/gpu>/g)) {
    const found = COMPLAINTS.filter(([tag, isBad]) =>
      [...body.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, 'g'))].some(([, value = '']) =>
        isBad(value.trim()),
      ),
    ).map(([, , text]) => text);
    if (/GPU is lost|Unknown Error/.test(body)) found.push('the driver cannot reach it');
    if (found.length > 0) complaints.set(busId, [...new Set(found)]);
  }
  return {
    driverVersion: elementOf(xml, 'driver_version'),
    cudaVersion: elementOf(xml, 'cuda_version'),
    complaints,
  };
}

const elementOf = (xml: string, tag: string): string =>
  (new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(xml)?.[1] ?? '').trim();
