import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const MAX_WAITING_PROGRAMS = 64;

/**
 * Prompts and the texts that answer them. One prompt is open at a time, later ones wait their turn. An `input` that
 * nobody asked for is dropped: kept, it would answer the next prompt, whichever that is.
 */
export class InputRequests {
  readonly #announce: (options: { readonly isPassword: boolean } | null) => void;
  readonly #waiting: { options: { readonly isPassword: boolean } | null; answer: (text: string) => void }[] =
    [];

  /** `announce` tells the agent; null stands for a prompt that says nothing about passwords. */
  constructor(announce: (options: { readonly isPassword: boolean } | null) => void) {
    this.#announce = announce;
  }

  ask(options: { readonly isPassword: boolean } | null): Promise<string> {
    return new Promise((answer) => {
      this.#waiting.push({ options, answer });
      if (this.#waiting.length === 1) this.#announce(options);
    });
  }

  /** False when nobody waits. */
  answer(text: string): boolean {
    const first = this.#waiting.shift();
    first?.answer(text);
    const next = this.#waiting[0];
    if (next) this.#announce(next.options);
    return first !== undefined;
  }

  /** The run is over: whoever still waits gets nothing. */
  forget(): void {
    this.#waiting.length = 0;
  }
}

/** Replaces `input()` in batch programs; hands over to the site's own customisation, which it hides. */
const SITE_CUSTOMIZE = String.raw`
import os, sys
_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [p for p in sys.path if os.path.abspath(p or '.') != _here]
sys.modules.pop('sitecustomize', None)
try:
    import sitecustomize
except ImportError:
    pass
if os.environ.get('_BACKEND_BATCH_MODE', '0') != '0' and os.environ.get('SPLENIUM_INPUT_SOCKET'):
    import builtins

    def _drain(fd):
        try:
            import fcntl, struct, termios, time
            limit = time.monotonic() + 1.0
            while struct.unpack('i', fcntl.ioctl(fd, termios.FIONREAD, b'\0\0\0\0'))[0]:
                if time.monotonic() > limit:
                    break
                time.sleep(0.001)
        except (ImportError, OSError):
            pass

    def _input(prompt=''):
        import socket
        sys.stdout.write(str(prompt))
        sys.stdout.flush()
        _drain(1)
        parts = []
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.connect(os.environ['SPLENIUM_INPUT_SOCKET'])
                while True:
                    part = connection.recv(65536)
                    if not part:
                        break
                    parts.append(part)
        except OSError:
            return '<user-input-unavailable>'
        return b''.join(parts).decode('utf-8', 'replace')

    builtins.input = _input
`;

/** The door for batch programs that ask for input (spec/kernel-runner.md 4.7): connect, read the text to the end. */
export class BatchInput {
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  readonly #variables: Readonly<Record<string, string>>;

  private constructor(server: Server, variables: Readonly<Record<string, string>>) {
    this.#server = server;
    this.#variables = variables;
  }

  static async open(directory: string, requests: InputRequests, supported: boolean): Promise<BatchInput> {
    const path = join(directory, 'input.sock');
    const site = join(directory, 'site');
    mkdirSync(site, { recursive: true });
    writeFileSync(join(site, 'sitecustomize.py'), SITE_CUSTOMIZE);
    const server = createServer();
    const input = new BatchInput(server, { SPLENIUM_INPUT_SOCKET: path, PYTHONPATH: site });
    server.on('connection', (connection) => {
      connection.on('error', () => undefined);
      input.#connections.add(connection);
      connection.once('close', () => input.#connections.delete(connection));
      if (!supported) connection.end('<user-input is unsupported>');
      else if (input.#connections.size > MAX_WAITING_PROGRAMS) connection.destroy();
      else void requests.ask(null).then((text) => connection.end(text));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    return input;
  }

  /** Variables for a batch program, on top of its environment. */
  variables(environment: Readonly<Record<string, string>>): Record<string, string> {
    const path = environment['PYTHONPATH'];
    const site = this.#variables['PYTHONPATH'] ?? '';
    return { ...this.#variables, PYTHONPATH: path === undefined || path === '' ? site : `${site}:${path}` };
  }

  close(): void {
    for (const connection of this.#connections) connection.destroy();
    this.#server.close();
  }
}
