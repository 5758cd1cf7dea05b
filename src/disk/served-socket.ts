import { connect } from 'node:net';

/** Does a program accept connections at this path? A socket that a killed one has left does not count. Never rejects. */
export function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}
