import { parseText } from '../formats.js';
import { parseHostPortList } from '../host-port.js';
import { optional } from '../parser.js';
import { key, table } from './definition.js';

/** Spec/config-and-resources.md 1.7.6. An address here switches splenium.store and splenium.event-bus over. */
export const etcd = table('Where nodes register and shared configuration is kept.', {
  namespace: key('Prefix of all keys', parseText, 'local', { env: 'BACKEND_NAMESPACE' }),
  addr: key('One address or several; unset: no etcd', optional(parseHostPortList), null, {
    env: 'BACKEND_ETCD_ADDR',
    example: '127.0.0.1:2379',
  }),
  user: key('User name; used only with a password', optional(parseText), null, {
    env: 'BACKEND_ETCD_USER',
    example: 'backend',
  }),
  password: key('Password', optional(parseText), null, {
    env: 'BACKEND_ETCD_PASSWORD',
    secret: true,
    example: 'secret',
  }),
});
