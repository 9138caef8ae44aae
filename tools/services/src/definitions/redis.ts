import { connect } from 'node:net';
import type { ServiceDefinition } from './definition.ts';

export const redis: ServiceDefinition = {
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
