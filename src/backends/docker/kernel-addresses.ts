import type { EngineContainers } from './engine-containers.js';
import { OWNER_LABEL } from './kernel-labels.js';

/** The container of a kernel, as far as its labels tell. */
export interface FoundContainer {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Which kernel's container has an address, on whatever network. What is remembered is only where to look: a container
 * that had the address is inspected before it is named, so that an address that went to another container never
 * leads to the first. So a known caller costs one inspection, and an unknown one a list of all.
 */
export class KernelAddresses {
  readonly #containers: Pick<EngineContainers, 'inspect' | 'list'>;
  /** Address -> container id. */
  #known: ReadonlyMap<string, string> = new Map();
  #forgotten = 0;
  #running: Promise<Survey> | null = null;
  #next: Promise<Survey> | null = null;

  constructor(containers: Pick<EngineContainers, 'inspect' | 'list'>) {
    this.#containers = containers;
  }

  /** Null: no container has the address, or more than one, which networks that overlap make possible. */
  async find(address: string): Promise<FoundContainer | null> {
    const asked = plainAddress(address);
    const id = this.#known.get(asked);
    if (id !== undefined) {
      const container = await this.#containers.inspect(id);
      const labels = container?.Config.Labels ?? {};
      if (container?.NetworkSettings.addresses.includes(asked) && OWNER_LABEL in labels)
        return { id: container.Id, labels };
    }
    return (await this.#survey()).get(asked) ?? null;
  }

  /** Containers have started or ended: the next caller is looked for among all of them. */
  forget(): void {
    this.#known = new Map();
    this.#forgotten += 1;
  }

  /** One that began after this call: callers that come while one runs share the one after it. */
  #survey(): Promise<Survey> {
    if (this.#running === null) return this.#begin();
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = null;
        return this.#begin();
      });
    return this.#next;
  }

  #begin(): Promise<Survey> {
    const running = this.#ask().finally(() => {
      if (this.#running === running) this.#running = null;
    });
    this.#running = running;
    return running;
  }

  async #ask(): Promise<Survey> {
    const forgotten = this.#forgotten;
    const survey = surveyOf(await this.#containers.list([OWNER_LABEL]));
    // A list from before the last start or end is not remembered.
    if (forgotten === this.#forgotten) this.#known = new Map([...survey].map(([at, { id }]) => [at, id]));
    return survey;
  }
}

type Survey = ReadonlyMap<string, FoundContainer>;

function surveyOf(listed: Awaited<ReturnType<EngineContainers['list']>>): Survey {
  const survey = new Map<string, FoundContainer>();
  const shared = new Set<string>();
  for (const { Id: id, Labels: labels, NetworkSettings } of listed)
    for (const address of NetworkSettings.addresses) {
      const other = survey.get(address);
      if (other !== undefined && other.id !== id) shared.add(address);
      survey.set(address, { id, labels });
    }
  for (const address of shared) survey.delete(address);
  return survey;
}

/** An IPv4 address that came over an IPv6 socket is itself again. */
const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '');
