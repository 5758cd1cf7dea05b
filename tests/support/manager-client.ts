import type { KeyPair } from '../../src/callosum/index.js';
import { messageOf } from '../../src/core/errors.js';
import type { TestDaemon } from './daemon.js';
import { PythonScript } from './python.js';

/** One kernel that a manager asks for; the driver adds what its scheduler would. */
export interface KernelWish {
  readonly kernel_id: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: Readonly<Record<string, string>>;
  readonly role?: string;
  readonly index?: number;
  readonly architecture?: string;
  readonly session_type?: string;
  readonly environ?: Readonly<Record<string, string>>;
  readonly preopen_ports?: readonly number[];
  readonly agent_addr?: string;
  /** Fields of the configuration to leave out. */
  readonly without?: readonly string[];
}

export interface ManagerCall {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** What of the manager reads the result, see tests/interop/python/manager_readers.py. */
  readonly read?: string;
}

/** A call that failed, as the manager sees it. */
export class ManagerFailure extends Error {
  /** The manager's exception class. */
  readonly type: string;
  /** Name, repr and traceback that came from the agent; null when the failure is the manager's own. */
  readonly remoteName: string | null;
  readonly remoteRepr: string | null;
  readonly remoteTraceback: string | null;

  constructor(error: WireFailure) {
    super(`${error.type}: ${error.text}`);
    this.type = error.type;
    this.remoteName = error.name;
    this.remoteRepr = error.repr;
    this.remoteTraceback = error.traceback;
  }
}

interface WireFailure {
  readonly type: string;
  readonly name: string | null;
  readonly repr: string | null;
  readonly traceback: string | null;
  readonly text: string;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: WireFailure;
}

/**
 * The original manager's own client classes in a Python process, calling a daemon of ours. Values travel as JSON:
 * `{$kernel: uuid}`, `{$bytes: hex}` and so on, see tests/interop/python/manager_values.py.
 */
export class ManagerClient {
  readonly #script: PythonScript;
  readonly #waiting = new Map<number, (answer: Answer | Error) => void>();
  #calls = 0;

  private constructor(script: PythonScript) {
    this.#script = script;
  }

  static async start(
    python: string,
    script: 'manager_client_25.py' | 'manager_client_26.py',
    daemon: TestDaemon,
    keys: KeyPair = daemon.manager,
  ): Promise<ManagerClient> {
    const client = new ManagerClient(
      new PythonScript(python, script, {
        address: daemon.address,
        public_key: keys.publicKey,
        secret_key: keys.secretKey,
        server_public_key: daemon.serverPublicKey,
        agents: [...daemon.agentIds, 'i-nowhere'],
      }),
    );
    await client.#script.next();
    void client.#receive();
    return client;
  }

  /** Calls a method of the manager's AgentClient; `create` and `pull` are for `create_kernels` and `check_and_pull`. */
  call(agentId: string, method: string, args: readonly unknown[] = [], more: ManagerCall = {}) {
    return this.#call({ agent: agentId, method, args, ...more });
  }

  /** Calls a function for which the manager's client has no method, over the manager's connection. */
  invoke(agentId: string, method: string, args: readonly unknown[] = [], more: ManagerCall = {}) {
    return this.#call({ agent: agentId, via: 'peer', method, args, ...more });
  }

  create(agentId: string, sessionId: string, kernels: readonly KernelWish[], read = 'creation') {
    return this.call(agentId, 'create', [], { kwargs: { session_id: sessionId, kernels }, read });
  }

  async close(): Promise<void> {
    await this.#script.end();
  }

  async #call(command: object): Promise<unknown> {
    const id = (this.#calls += 1);
    const answered = new Promise<Answer | Error>((resolve) => {
      this.#waiting.set(id, resolve);
    });
    this.#script.write({ id, ...command });
    const answer = await answered;
    if (answer instanceof Error) throw answer;
    if (answer.error) throw new ManagerFailure(answer.error);
    return answer.result;
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        const answer = (await this.#script.next()) as Answer;
        this.#waiting.get(answer.id)?.(answer);
        this.#waiting.delete(answer.id);
      }
    } catch (error) {
      const reason = new Error(messageOf(error));
      for (const resolve of this.#waiting.values()) resolve(reason);
    }
  }
}
