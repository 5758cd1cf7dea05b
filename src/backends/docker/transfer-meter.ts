import type { TransferRecord } from './engine-schemas.js';

interface Layer {
  current: number;
  total: number;
  isDone: boolean;
}

export interface Transferred {
  readonly current: number;
  readonly total: number;
  readonly message: string;
}

const MOVING = /^(Downloading|Pushing)\b/;
/** All bytes have come over, whatever still happens to them here. */
const ARRIVED = /^(Verifying Checksum|Download complete|Extracting)\b/;
const DONE = /^(Pull complete|Already exists|Pushed|Layer already exists|Mounted from)\b/;

/**
 * Adds up the records of a pull or push, which tell of one layer each. Counts bytes as soon as the engine tells any,
 * layers before that; a layer never goes back, also not when the engine tries it again.
 */
export class TransferMeter {
  readonly #layers = new Map<string, Layer>();
  #last = '';

  /** Where the transfer stands now; null when the record changes nothing. */
  take({ id, status = '', progressDetail }: TransferRecord): Transferred | null {
    // The first record of a pull has the tag for an id.
    if (id === undefined || status.startsWith('Pulling from')) return null;
    const layer = this.#layers.get(id) ?? { current: 0, total: 0, isDone: false };
    this.#layers.set(id, layer);
    const { current = 0, total = 0 } = progressDetail ?? {};
    // What a push has left is an estimate, and may turn out to be more.
    layer.total = Math.max(layer.total, total, MOVING.test(status) ? current : 0);
    if (MOVING.test(status)) layer.current = Math.max(layer.current, current);
    layer.isDone ||= DONE.test(status);
    if (layer.isDone || ARRIVED.test(status)) layer.current = layer.total;
    const progress = this.#progress();
    const text = JSON.stringify(progress);
    if (text === this.#last) return null;
    this.#last = text;
    return progress;
  }

  #progress(): Transferred {
    const layers = [...this.#layers.values()];
    const done = layers.filter(({ isDone }) => isDone).length;
    const message = `${String(done)} of ${String(layers.length)} layers done`;
    const total = layers.reduce((sum, layer) => sum + layer.total, 0);
    if (total === 0) return { current: done, total: layers.length, message };
    return { current: layers.reduce((sum, layer) => sum + layer.current, 0), total, message };
  }
}
