import type { RegistryAccess, TransferListener } from '../backend.js';
import type { RegistryLogin } from './engine-images.js';
import { transferSchema } from './engine-schemas.js';
import { TransferMeter } from './transfer-meter.js';

/**
 * Reads the records of a pull or push to their end. The engine answers 200 before it knows how a transfer ends, so
 * the outcome stands in the records alone.
 * @returns what the engine says went wrong, null when all went well. @throws the stream's own error.
 */
export async function followTransfer(
  records: AsyncIterable<unknown>,
  onProgress: TransferListener,
): Promise<string | null> {
  const meter = new TransferMeter();
  let count = 0;
  let failure: string | null = null;
  for await (const value of records) {
    count += 1;
    const record = transferSchema.parse(value);
    failure = record.error ?? record.errorDetail?.message ?? failure;
    const progress = meter.take(record);
    if (progress !== null) onProgress(progress);
  }
  return count === 0 ? 'the engine ended without a word' : failure;
}

/** Only a complete login is one. */
export function loginOf({ registry }: { readonly registry: RegistryAccess | null }): RegistryLogin | null {
  if (registry === null) return null;
  const { name, username, password } = registry;
  return username === null || username === '' || password === null || password === ''
    ? null
    : { username, password, serveraddress: name };
}
