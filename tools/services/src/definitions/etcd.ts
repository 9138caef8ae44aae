import type { ServiceDefinition } from './definition.ts';

export const etcd: ServiceDefinition = {
  name: 'etcd',
  variable: 'MCP_BLOCKS_ETCD_URL',
  executable: 'etcd',
  debianPackage: 'etcd-server',
  dockerImage: 'quay.io/coreos/etcd:v3.5.21',
  manualInstall: 'Debian/Ubuntu: apt-get install etcd-server; macOS: brew install etcd',
  sidePortCount: 1,
  url: (port) => `http://127.0.0.1:${port}`,
  args: ({ host, port, sidePorts: [peerPort], dataDir }) => [
    ...['--name', 'test', '--data-dir', dataDir],
    ...['--listen-client-urls', `http://${host}:${port}`, '--advertise-client-urls', `http://${host}:${port}`],
    ...['--listen-peer-urls', `http://127.0.0.1:${peerPort}`, '--initial-advertise-peer-urls', `http://127.0.0.1:${peerPort}`],
    ...['--initial-cluster', `test=http://127.0.0.1:${peerPort}`],
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
