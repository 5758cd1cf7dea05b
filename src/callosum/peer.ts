import { NotImplementedError } from '../core/errors.js';
import type { BindOptions, CloseOptions, ConnectOptions, InvokeOptions } from './peer-options.js';

/** One end of a Callosum connection: serves calls through its handler and invokes calls on the other side. */
export class Peer {
  static bind(_options: BindOptions): Promise<Peer> {
    return Promise.reject(new NotImplementedError('Peer.bind'));
  }

  static connect(_options: ConnectOptions): Promise<Peer> {
    return Promise.reject(new NotImplementedError('Peer.connect'));
  }

  /** The actual endpoint: with the port the system chose when the address asked for port 0 or `*`. */
  get endpoint(): string {
    return '';
  }

  invoke(_method: string, _body: unknown, _options: InvokeOptions = {}): Promise<unknown> {
    return Promise.reject(new NotImplementedError('Peer.invoke'));
  }

  close(_options: CloseOptions = {}): Promise<void> {
    return Promise.resolve();
  }
}
