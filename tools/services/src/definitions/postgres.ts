import { connect } from 'node:net';
import type { ServiceDefinition } from './definition.ts';

/** The start of PostgreSQL's protocol 3.0: who wants in where. */
const STARTUP = Buffer.from('\0\x03\0\0user\0postgres\0database\0postgres\0\0', 'latin1');

export const postgres: ServiceDefinition = {
  name: 'postgres',
  variable: 'MCP_BLOCKS_POSTGRES_URL',
  executable: 'postgres',
  debianPackage: 'postgresql',
  dockerImage: 'postgres:15',
  manualInstall: 'Debian/Ubuntu: apt-get install postgresql; macOS: brew install postgresql@15',
  url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
  args: ({ host, port, dataDir }) => [
    ...['-D', `${dataDir}/data`, '-p', String(port), '-h', host],
    // A container's own start-up script looks for the socket at its usual place.
    ...(host === '127.0.0.1' ? ['-k', dataDir] : []),
    // Nothing here outlives the tests.
    ...['-c', 'fsync=off', '-c', 'max_connections=50'],
  ],
  docker: { port: 5432, dataDir: '/var/lib/postgresql', env: ['POSTGRES_HOST_AUTH_METHOD=trust'] },
  prepare: {
    program: 'initdb',
    args: (dataDir) => ['-D', `${dataDir}/data`, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
  },
  unprivilegedUser: 'postgres',
  stopSignal: 'SIGINT',
  answers: (port) =>
    new Promise((resolve) => {
      const length = Buffer.alloc(4);
      length.writeInt32BE(STARTUP.length + 4);
      const socket = connect({ host: '127.0.0.1', port }, () => socket.write(Buffer.concat([length, STARTUP])));
      const finish = (answered: boolean) => {
        socket.destroy();
        resolve(answered);
      };
      socket.setTimeout(1000, () => finish(false));
      // R: an answer to who we are; while it starts up it sends E, an error.
      socket.once('data', (data) => finish(data.toString('latin1').startsWith('R')));
      socket.once('error', () => finish(false));
      socket.once('close', () => resolve(false));
    }),
};
