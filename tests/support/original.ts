import { PythonScript } from './python.js';

/** The original's code in `surroundings.py`, asked one thing after the other. */
export class Original {
  readonly #script: PythonScript;

  constructor(python: string) {
    this.#script = new PythonScript(python, 'surroundings.py', null);
  }

  ask(task: string, args: object): Promise<unknown> {
    this.#script.write({ task, arguments: args });
    return this.#script.next();
  }

  async end(): Promise<void> {
    await this.#script.end();
  }
}
