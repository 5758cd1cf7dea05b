import { within } from '../../core/async.js';
import { messageOf, TimeoutError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { DevicePlugin } from './device-plugin.js';

interface PluginQuestionParts<T> {
  /** What is said in the log when a plugin does not answer. */
  readonly failure: string;
  readonly timeoutMs: number;
  readonly ask: (plugin: DevicePlugin) => Promise<T>;
  readonly logger: Logger;
}

/**
 * One question that device plugins are asked again and again while the agents run. A plugin that hangs (a driver that
 * does not answer) delays its first askers by the time limit and nobody after them: it is not asked again before it
 * has answered, so that questions never pile up.
 */
export class PluginQuestion<T> {
  readonly #parts: PluginQuestionParts<T>;
  readonly #asking = new Map<string, Promise<T>>();
  readonly #late = new Set<string>();
  readonly #failing = new Set<string>();

  constructor(parts: PluginQuestionParts<T>) {
    this.#parts = parts;
  }

  /** Who asks meanwhile gets the same answer. @throws TimeoutError, and the plugin's error. */
  async ask(plugin: DevicePlugin): Promise<T> {
    const { key } = plugin;
    const { failure, timeoutMs } = this.#parts;
    if (this.#late.has(key)) throw new TimeoutError(`${failure}: ${key} still has not answered`);
    const answer = this.#asking.get(key) ?? this.#begin(plugin);
    try {
      return await within(answer, { timeoutMs, what: `device plugin ${key}` });
    } catch (error) {
      if (this.#asking.get(key) === answer) this.#late.add(key);
      throw error;
    }
  }

  /** Null without an answer, which is logged once, until the plugin answers again. */
  async tryAsk(plugin: DevicePlugin): Promise<{ readonly answer: T } | null> {
    const { failure, logger } = this.#parts;
    const { key } = plugin;
    try {
      const answer = await this.ask(plugin);
      if (this.#failing.delete(key))
        logger.info('a device plugin works again', { plugin: key, after: failure });
      return { answer };
    } catch (error) {
      if (!this.#failing.has(key)) logger.warn(failure, { plugin: key, error: messageOf(error) });
      this.#failing.add(key);
      return null;
    }
  }

  #begin(plugin: DevicePlugin): Promise<T> {
    const { key } = plugin;
    // A plugin may also throw where it should reject.
    const answer = Promise.resolve(plugin).then(this.#parts.ask);
    this.#asking.set(key, answer);
    const settled = (): void => {
      this.#asking.delete(key);
      this.#late.delete(key);
    };
    answer.then(settled, settled);
    return answer;
  }
}
