import { ValueError } from '../../core/errors.js';

/** `BACKEND_CPU_OVERCOMMIT_FACTOR`, `BACKEND_MEM_OVERCOMMIT_FACTOR`: 1 to 10, absent 1. @throws ValueError. */
export function parseOvercommitFactor(text: string | undefined): number {
  if (text === undefined || text === '') return 1;
  const factor = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (factor < 1 || factor > 10)
    throw new ValueError(
      `an overcommit factor is a whole number from 1 to 10, but given '${text.slice(0, 20)}'`,
    );
  return factor;
}
