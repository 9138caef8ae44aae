import { connect } from 'node:net';

export type ServiceName = 'redis' | 'etcd' | 'postgres';

/** What it takes to run one kind of server. */
export interface ServiceDefinition {
  readonly name: ServiceName;
  /** The environment variable that carries its URL to the tests. */
  readonly variable: string;
  readonly executable: string;
  readonly debianPackage: string;
  readonly dockerImage: string;
  /** How to install it by hand, for the message when nothing else worked. */
  readonly manualInstall: string;
  url(port: number): string;
  /** The command line after the executable. `port` is what clients use, `sidePort` one more free port. */
  args(place: { readonly host: string; readonly port: number; readonly sidePort: number; readonly dataDir: string }): string[];
  /** The same inside a container, where the server listens on its usual port. */
  readonly docker: { readonly port: number; readonly dataDir: string; readonly env?: readonly string[] };
  /** A program beside the executable that has to run first, and its arguments. A container does that itself. */
  readonly prepare?: { readonly program: string; args(dataDir: string): string[] };
  /** The user to run as where we are root, because the server refuses to be root. */
  readonly unprivilegedUser?: string;
  /** What ends it without waiting for its clients. Default: SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** Resolves with true once the server answers. */
  answers(port: number): Promise<boolean>;
}

const redis: ServiceDefinition = {
  name: 'redis',
  variable: 'MCP_BLOCKS_REDIS_URL',
  executable: 'redis-server',
  debianPackage: 'redis-server',
  dockerImage: 'redis:7',
  manualInstall: 'Debian/Ubuntu: apt-get install redis-server; macOS: brew install redis',
  url: (port) => `redis://127.0.0.1:${port}`,
  args: ({ host, port, dataDir }) => [
    ...['--port', String(port), '--bind', host, '--dir', dataDir],
    ...['--save', '', '--appendonly', 'no', '--protected-mode', 'no', '--loglevel', 'warning'],
  ],
  docker: { port: 6379, dataDir: '/data' },
  answers: (port) =>
    new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port }, () => socket.write('PING\r\n'));
      const finish = (answered: boolean) => {
        socket.destroy();
        resolve(answered);
      };
      socket.setTimeout(1000, () => finish(false));
      socket.once('data', (data) => finish(data.toString().startsWith('+PONG')));
      socket.once('error', () => finish(false));
    }),
};

const etcd: ServiceDefinition = {
  name: 'etcd',
  variable: 'MCP_BLOCKS_ETCD_URL',
  executable: 'etcd',
  debianPackage: 'etcd-server',
  dockerImage: 'quay.io/coreos/etcd:v3.5.21',
  manualInstall: 'Debian/Ubuntu: apt-get install etcd-server; macOS: brew install etcd',
  url: (port) => `http://127.0.0.1:${port}`,
  args: ({ host, port, sidePort, dataDir }) => [
    ...['--name', 'test', '--data-dir', dataDir],
    ...['--listen-client-urls', `http://${host}:${port}`, '--advertise-client-urls', `http://${host}:${port}`],
    ...['--listen-peer-urls', `http://127.0.0.1:${sidePort}`, '--initial-advertise-peer-urls', `http://127.0.0.1:${sidePort}`],
    ...['--initial-cluster', `test=http://127.0.0.1:${sidePort}`],
    // A single member elects itself at once instead of after the default second.
    ...['--heartbeat-interval', '20', '--election-timeout', '200'],
    ...['--logger', 'zap', '--log-level', 'error'],
  ],
  docker: { port: 2379, dataDir: '/etcd-data' },
  answers: async (port) => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(1000) });
      return ((await response.json()) as { health?: string }).health === 'true';
    } catch {
      return false;
    }
  },
};

/** The start of PostgreSQL's protocol 3.0: who wants in where. */
const STARTUP = Buffer.from('\0\x03\0\0user\0postgres\0database\0postgres\0\0', 'latin1');

const postgres: ServiceDefinition = {
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

export const DEFINITIONS: Readonly<Record<ServiceName, ServiceDefinition>> = { redis, etcd, postgres };
export const SERVICE_NAMES: readonly ServiceName[] = ['redis', 'etcd', 'postgres'];
