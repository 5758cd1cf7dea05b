import { execFile } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { EtcdTlsFiles } from './etcd-server.js';

const run = promisify(execFile);

/** An authority with a certificate for a server on loopback and one for a client, made by openssl. */
export async function makeCertificates(directory: string): Promise<EtcdTlsFiles> {
  const path = (name: string) => join(directory, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await run('openssl', [
    ...['req', '-x509', ...key, '-days', '2', '-subj', '/CN=test authority'],
    ...['-keyout', path('ca-key.pem'), '-out', path('ca.pem')],
  ]);
  const issue = async (name: string, extensions: string): Promise<void> => {
    await run('openssl', [
      ...['req', ...key, '-subj', `/CN=${name}`],
      ...['-keyout', path(`${name}-key.pem`), '-out', path(`${name}.csr`)],
    ]);
    await writeFile(path(`${name}.ext`), extensions);
    await run('openssl', [
      ...['x509', '-req', '-in', path(`${name}.csr`), '-days', '2', '-extfile', path(`${name}.ext`)],
      ...[
        '-CA',
        path('ca.pem'),
        '-CAkey',
        path('ca-key.pem'),
        '-CAcreateserial',
        '-out',
        path(`${name}.pem`),
      ],
    ]);
    await chmod(path(`${name}-key.pem`), 0o600);
  };
  // etcd's gateway calls its own server as a client.
  await issue(
    'server',
    'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n',
  );
  await issue('client', 'extendedKeyUsage=clientAuth\n');
  return {
    ca: path('ca.pem'),
    serverCert: path('server.pem'),
    serverKey: path('server-key.pem'),
    clientCert: path('client.pem'),
    clientKey: path('client-key.pem'),
  };
}
